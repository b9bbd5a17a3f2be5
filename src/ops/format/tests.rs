use super::*;

#[test]
fn doubles_as_java_prints_them() {
    for (value, text) in [
        (0.0, "0.0"),
        (1.0, "1.0"),
        (676.0, "676.0"),
        (0.921_24, "0.9212"),
        (0.121_25, "0.1213"),
        (0.0001, "1.0E-4"),
        (0.000_04, "0.0"),
        (0.0012, "0.0012"),
        (9_999_999.0, "9999999.0"),
        (10_000_000.0, "1.0E7"),
        (12_345_678.5, "1.23456785E7"),
        (-1.5, "-1.5"),
    ] {
        assert_eq!(rounded(value), text, "{value}");
    }
}

#[test]
fn dates_as_java_prints_them() {
    for (ms, text) in [
        (0, "Thu Jan 01 00:00:00 UTC 1970"),
        (951_827_696_789, "Tue Feb 29 12:34:56 UTC 2000"),
        (1_795_234_087_000, "Sat Nov 21 04:08:07 UTC 2026"),
        (-1, "Wed Dec 31 23:59:59 UTC 1969"),
        (4_107_542_399_000, "Sun Feb 28 23:59:59 UTC 2100"),
    ] {
        assert_eq!(date(ms), text, "{ms}");
    }
}

#[test]
fn addresses_as_java_prints_them() {
    for (input, text) in [
        ("127.0.0.1:2181", "/127.0.0.1:2181"),
        ("[::1]:9", "/[0:0:0:0:0:0:0:1]:9"),
        ("[::ffff:10.0.0.1]:9", "/10.0.0.1:9"),
    ] {
        assert_eq!(address(input.parse().expect("an address")), text);
    }
}
