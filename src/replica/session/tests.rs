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

#[test]
fn sessions_that_end_in_masses_end_in_turns() {
    let mut sessions = Sessions::new(1000, 1);
    let all = 3 * EXPIRE_MAX as i64 + 1;
    for id in 0..all {
        sessions.track(SessionId(id), 4000, at(0));
    }
    assert!(sessions.asks_for_activity(at(5000)));
    let mut ended: Vec<SessionId> = Vec::new();
    for turn in 0..4 {
        // However long it takes: they have been silent, and were asked for before the first turn.
        let now = at(5000 + 400 * turn);
        assert!(sessions.next_due().is_some_and(|due| due <= now));
        assert_eq!(sessions.asks_for_activity(now), turn == 0);
        let some = sessions.expire(now);
        assert!(some.len() <= EXPIRE_MAX && !some.is_empty());
        ended.extend(some);
    }
    ended.sort_unstable();
    assert_eq!(ended, (0..all).map(SessionId).collect::<Vec<_>>());
    assert_eq!(sessions.next_due(), None);
}

#[test]
fn what_is_left_of_one_bucket_takes_nobody_of_the_next_unasked() {
    let mut sessions = Sessions::new(1000, 1);
    for id in 0..EXPIRE_MAX as i64 + 1 {
        sessions.track(SessionId(id), 4000, at(0));
    }
    sessions.track(SessionId(-1), 4000, at(1000));
    assert_eq!(sessions.expire(at(5400)).len(), EXPIRE_MAX);
    assert_eq!(sessions.expire(at(6100)).len(), 1);
    assert!(
        sessions.asks_for_activity(at(6100)),
        "the next bucket is due, and may have been active"
    );
    sessions.touch(SessionId(-1), 4000, at(3000));
    assert_eq!(sessions.expire(at(6100)), []);
}
