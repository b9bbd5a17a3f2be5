use super::*;

const IDLE: SessionId = SessionId(1);
const USED: SessionId = SessionId(2);
const TIMEOUT_MS: i32 = 4000;

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// Two sessions that were last heard of at the start; their bucket is due after 5 s.
fn two() -> Sessions {
    let mut sessions = Sessions::new(1000, 1);
    sessions.track(IDLE, TIMEOUT_MS, at(0));
    sessions.track(USED, TIMEOUT_MS, at(0));
    assert_eq!(sessions.next_due(), Some(at(5000)));
    sessions
}

#[test]
fn who_was_silent_for_a_timeout_expires_with_its_bucket() {
    let mut sessions = two();
    sessions.touch(USED, TIMEOUT_MS, at(3000));
    assert_eq!(sessions.expire(at(4999)), []);
    assert_eq!(sessions.expire(at(5001)), [IDLE]);
    assert_eq!(sessions.check(IDLE), Code::SESSION_EXPIRED);
    assert_eq!(sessions.next_due(), Some(at(8000)));
}

#[test]
fn a_server_that_stood_still_hears_first_what_was_said_meanwhile() {
    let mut sessions = two();
    assert_eq!(sessions.expire(at(20_000)), [], "it is fifteen seconds late");
    assert_eq!(sessions.next_due(), Some(at(20_500)));
    assert!(sessions.touch(USED, TIMEOUT_MS, at(20_003)), "its ping was there all the time");
    assert_eq!(sessions.expire(at(20_499)), []);
    assert_eq!(sessions.expire(at(20_500)), [IDLE]);
    assert_eq!(sessions.next_due(), Some(at(25_000)));
}

#[test]
fn a_server_that_is_always_late_expires_sessions_all_the_same() {
    let mut sessions = two();
    assert_eq!(sessions.expire(at(6000)), []);
    assert_eq!(sessions.expire(at(9000)), [IDLE, USED], "it has had its chance to listen");
    assert_eq!(sessions.next_due(), None);
}
