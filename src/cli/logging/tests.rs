use super::*;

/// A misspelt level would mean a module of that name, and silence.
#[test]
fn a_bare_word_that_is_no_level_is_refused() {
    for text in ["info", "DEBUG", "off", "3", "rookeeper=debug", "warn,rookeeper::server=trace"] {
        assert!(usable(text).is_ok(), "{text}");
    }
    for text in ["inof", "bla", "info,debg", "nonsense=", "", "rookeeper=lots"] {
        assert!(usable(text).is_err(), "{text}");
    }
}
