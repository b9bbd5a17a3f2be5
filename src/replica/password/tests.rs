use super::*;

fn secret(secret: &[u8], taken_over: &[i64]) -> Passwords {
    let taken_over = taken_over.iter().map(|id| SessionId(*id)).collect();
    Passwords::Secret { secret: secret.to_vec(), taken_over }
}

/// Probed on an Apache server.
#[test]
fn apaches_passwords_follow_from_the_id() {
    let hex = |password: Password| password.map(|b| format!("{b:02x}")).concat();
    let session = SessionId(0x0100_002f_6975_0000);
    assert_eq!(hex(apache(session)), "412ad6df3a95a7d68771e57a13e9c6c7");
    assert!(Passwords::Apache.accepts(session, &apache(session)));
    assert_ne!(apache(SessionId(-1)), apache(SessionId(1)), "negative ids, too");
}

/// S-HIJACK: who knows the id and everything public can't make the password.
#[test]
fn a_password_computed_from_the_id_opens_nothing() {
    let ours = secret(b"one secret of many bytes", &[7]);
    for id in [1, 7, -9, i64::MAX] {
        let session = SessionId(id);
        assert!(ours.accepts(session, &ours.of(session)));
        assert_eq!(ours.accepts(session, &apache(session)), id == 7, "only if taken over");
        let other = secret(b"another secret of as many", &[]);
        assert!(!ours.accepts(session, &other.of(session)));
        assert!(!ours.accepts(SessionId(id ^ 1), &ours.of(session)), "of another session");
    }
    assert_eq!(ours.of(SessionId(7)), secret(b"one secret of many bytes", &[]).of(SessionId(7)));
}

#[test]
fn wrong_lengths_and_no_session_are_refused() {
    for passwords in [secret(b"s", &[]), Passwords::Apache] {
        let own = passwords.of(SessionId(5));
        for given in [&[][..], &own[..15], &[own.as_slice(), &[0]].concat(), &[0; 16]] {
            assert!(!passwords.accepts(SessionId(5), given), "{} bytes", given.len());
        }
        let none = passwords.of(SessionId::NONE);
        assert!(!passwords.accepts(SessionId::NONE, &none));
    }
    let shown = format!("{:?}", secret(b"never shown", &[]));
    assert!(!shown.contains("never") && !shown.contains("110"), "{shown}");
}
