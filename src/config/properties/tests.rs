use super::*;

fn check(text: &str, expect: &[(&str, &str, usize)]) {
    let got = parse(text.as_bytes()).expect("parses");
    let got: Vec<(&str, &str, usize)> =
        got.iter().map(|p| (p.key.as_str(), p.value.as_str(), p.line)).collect();
    assert_eq!(got, expect, "{text:?}");
}

#[test]
fn separators_comments_and_blanks() {
    check("a=b", &[("a", "b", 1)]);
    check("a:b\n", &[("a", "b", 1)]);
    check("a b\n", &[("a", "b", 1)]);
    check("a = b \n", &[("a", "b ", 1)]);
    check("a=:b", &[("a", ":b", 1)]);
    check("a : = b", &[("a", "= b", 1)]);
    check("a", &[("a", "", 1)]);
    check("=v", &[("", "v", 1)]);
    check(
        "# c\n  ! d \\\n\t\n a\t=\t1\r\nb=2\rc=3",
        &[("a", "1", 4), ("b", "2", 5), ("c", "3", 6)],
    );
    check("a=b # not a comment", &[("a", "b # not a comment", 1)]);
    check("server.1=h:2888:3888;2181", &[("server.1", "h:2888:3888;2181", 1)]);
    check("", &[]);
}

#[test]
fn continued_lines_count_from_the_first() {
    check("a=1\\\n   2\\\n\t3\nb=4", &[("a", "123", 1), ("b", "4", 4)]);
    check("a=1\\\\\nb=2", &[("a", "1\\", 1), ("b", "2", 2)]);
    check("a=1\\\n# 2\nb=3", &[("a", "1# 2", 1), ("b", "3", 3)]);
    check("a=1\\", &[("a", "1", 1)]);
    check("a=1\\\n\nb=2", &[("a", "1", 1), ("b", "2", 3)]);
}

#[test]
fn escapes() {
    check("a\\=b\\:c\\ d=e\\tf", &[("a=b:c d", "e\tf", 1)]);
    check("a=\\u0041\\z", &[("a", "Az", 1)]);
    check("dir=C:\\\\zk", &[("dir", "C:\\zk", 1)]);
    assert_eq!(parse(b"x=1\na=\\u00g1"), Err(BadEscape { line: 2 }));
    assert_eq!(parse(b"a=\\u12"), Err(BadEscape { line: 1 }));
}

#[test]
fn bytes_are_latin_1() {
    let got = parse(b"d=\xe9").expect("parses");
    assert_eq!(got[0].value, "\u{e9}");
}

#[test]
fn the_last_duplicate_wins() {
    let got = last_wins(parse(b"a=1\nb=2\na=3").expect("parses"));
    let got: Vec<_> = got.iter().map(|p| (p.key.as_str(), p.value.as_str(), p.line)).collect();
    assert_eq!(got, [("b", "2", 2), ("a", "3", 3)]);
}

#[test]
fn no_byte_string_panics() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..2000 {
        let mut bytes = Vec::new();
        for _ in 0..40 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let pick = b"ab=: \t\\\n\r#!u0041\xff";
            bytes.push(pick[(seed >> 33) as usize % pick.len()]);
        }
        let _ = parse(&bytes);
    }
}
