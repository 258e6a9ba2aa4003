//! Glob patterns as KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET and ACL patterns use them.
//!
//! `*` any run of bytes, `?` one byte, `[abc]` `[a-z]` `[^a]` one byte of a class, `\x` the byte itself. The rules,
//! including the odd ones (a class that is never closed, ranges over signed bytes, `*` against the empty text), are
//! Valkey's `stringmatchlen`. Time is bounded by pattern length × text length: only the last star is ever retried.

/// As in Valkey, a pattern with more stars than this (runs count once, a closing run not at all) matches nothing.
const MAX_STARS: usize = 1000;

/// Whether the whole of `text` matches `pattern`. `ignore_case` folds ASCII letters. The empty text is matched by
/// the empty pattern only, not by `*`, as in Valkey.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut position) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    let mut stars = 0;
    while position < text.len() {
        if pattern.get(at) == Some(&b'*') {
            while pattern.get(at) == Some(&b'*') {
                at += 1;
            }
            if at == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > MAX_STARS {
                return false;
            }
            last_star = Some((at, position));
            continue;
        }
        match match_one(pattern, at, text[position], ignore_case) {
            Some(next) => {
                at = next;
                position += 1;
            }
            None => {
                let Some((after_star, start)) = last_star else { return false };
                last_star = Some((after_star, start + 1));
                at = after_star;
                position = start + 1;
            }
        }
    }
    // Retrying the star from further on would leave even less text for the rest of the pattern.
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Whether `pattern` has no special byte, so that it can match only the text equal to itself.
#[must_use]
pub fn is_literal(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// Matches one byte against the token at `at`; returns where the next token starts.
#[inline]
fn match_one(pattern: &[u8], at: usize, byte: u8, ignore_case: bool) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => {
            let (matched, next) = match_class(pattern, at + 1, byte, ignore_case);
            matched.then_some(next)
        }
        b'\\' if at + 1 < pattern.len() => equal(pattern[at + 1], byte, ignore_case).then_some(at + 2),
        literal => equal(literal, byte, ignore_case).then_some(at + 1),
    }
}

#[inline]
fn equal(left: u8, right: u8, ignore_case: bool) -> bool {
    left == right || (ignore_case && left.eq_ignore_ascii_case(&right))
}

/// Matches `byte` against the class whose first byte after `[` is at `at`; returns the verdict and where the class
/// ends, which is the end of the pattern for a class that is never closed.
fn match_class(pattern: &[u8], mut at: usize, byte: u8, ignore_case: bool) -> (bool, usize) {
    let negated = pattern.get(at) == Some(&b'^');
    if negated {
        at += 1;
    }
    let mut matched = false;
    loop {
        match pattern.get(at..).unwrap_or_default() {
            [] => return (matched != negated, pattern.len()),
            // An escaped byte is compared as it is even where case is ignored.
            [b'\\', literal, ..] => {
                matched |= *literal == byte;
                at += 2;
            }
            [b']', ..] => return (matched != negated, at + 1),
            [first, b'-', last, ..] => {
                matched |= in_range(*first, *last, byte, ignore_case);
                at += 3;
            }
            [literal, ..] => {
                matched |= equal(*literal, byte, ignore_case);
                at += 1;
            }
        }
    }
}

/// Ranges compare bytes as signed, and are put in order before case is folded, as Valkey does. Folding makes bytes
/// above 127 unsigned, except 255, which the C library takes for the end-of-file mark.
fn in_range(first: u8, last: u8, byte: u8, ignore_case: bool) -> bool {
    let (first, last) = (first as i8, last as i8);
    let fold = |value: i8| match value as u8 {
        byte @ 0x80..=0xfe if ignore_case => i16::from(byte),
        byte if ignore_case && byte.is_ascii() => i16::from(byte.to_ascii_lowercase()),
        _ => i16::from(value),
    };
    (fold(first.min(last))..=fold(first.max(last))).contains(&fold(byte as i8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn stars_question_marks_and_literals() {
        for (pattern, text) in [
            ("", ""),
            ("*", "a"),
            ("**", "abc"),
            ("a*", "a"),
            ("a**", "a"),
            ("*a", "bba"),
            ("*a*b", "xaayb"),
            ("h?llo", "hello"),
            ("???", "abc"),
            ("foo:*:bar", "foo:1:2:bar"),
            ("*?", "x"),
            ("a*b*c*", "aXbXc"),
        ] {
            assert!(exact(pattern, text), "{pattern} should match {text}");
        }
        for (pattern, text) in [
            ("*", ""),
            ("**", ""),
            ("?", ""),
            ("", "a"),
            ("a", "b"),
            ("a*b", "a"),
            ("*a", "ab"),
            ("??", "a"),
            ("a", "aa"),
        ] {
            assert!(!exact(pattern, text), "{pattern} should not match {text}");
        }
    }

    #[test]
    fn classes_ranges_and_escapes() {
        for (pattern, text) in [
            ("[abc]", "b"),
            ("[a-c]x", "bx"),
            ("[c-a]", "b"),
            ("[^a]", "b"),
            ("[\\]]", "]"),
            ("\\*", "*"),
            ("\\", "\\"),
            ("[a-", "-"),
            ("[abc", "c"),
            ("[^", "x"),
            ("[\\", "\\"),
            ("[a-]", "^"),
            ("[^]x", "ax"),
            ("a\\?", "a?"),
        ] {
            assert!(exact(pattern, text), "{pattern} should match {text}");
        }
        for (pattern, text) in [
            ("[abc]", "d"),
            ("[^a]", "a"),
            ("\\*", "a"),
            ("[", "["),
            ("[]", "]"),
            ("[]a]", "a]"),
            ("[a-c]", "-"),
        ] {
            assert!(!exact(pattern, text), "{pattern} should not match {text}");
        }
    }

    #[test]
    fn ranges_compare_signed_bytes() {
        assert!(matches(b"[\x80-a]", b"\xff", false));
        assert!(matches(b"[\x80-a]", b"\x00", false));
        assert!(!matches(b"[a-\xff]", b"b", false));
    }

    #[test]
    fn case_is_folded_except_behind_an_escape_in_a_class() {
        assert!(matches(b"HeLLo*", b"hEllO world", true));
        assert!(matches(b"[A-C]", b"b", true));
        assert!(matches(b"\\A", b"a", true));
        assert!(!matches(b"[\\A]", b"a", true));
        assert!(!matches(b"[Z-a]", b"z", true));
        assert!(!matches(b"A", b"a", false));
    }

    #[test]
    fn many_stars_stay_fast_and_more_than_a_thousand_match_nothing() {
        let text = vec![b'a'; 20_000];
        let mut pattern = b"*a".repeat(1000);
        assert!(matches(&pattern, &text, false));
        pattern.push(b'b');
        assert!(!matches(&pattern, &text, false));
        assert!(!matches(&b"*a".repeat(1001), &text, false));
    }

    #[test]
    fn literal_patterns_are_known() {
        assert!(
            is_literal(b"user:1") && !is_literal(b"user:*") && !is_literal(b"a[b") && !is_literal(b"a\\b")
        );
    }

    /// The definition by recursion, without classes: slow and plain.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|skip| by_definition(rest, &text[skip..])),
            [b'?', rest @ ..] => !text.is_empty() && by_definition(rest, &text[1..]),
            [b'\\', literal, rest @ ..] | [literal, rest @ ..] => {
                text.first() == Some(literal) && by_definition(rest, &text[1..])
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?\\\\]{0,8}", text in "[ab*\\\\]{1,10}") {
            prop_assert_eq!(exact(&pattern, &text), by_definition(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn no_input_panics(pattern in proptest::collection::vec(any::<u8>(), 0..40), text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = matches(&pattern, &text, false) | matches(&pattern, &text, true);
        }
    }
}
