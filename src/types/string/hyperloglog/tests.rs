//! The forms against each other and against plain registers, and strings that are corrupt.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

const MAX: usize = 3000;

fn registers(bytes: &[u8]) -> Registers {
    let mut registers = [0; REGISTERS];
    merge(&mut registers, bytes).unwrap();
    registers
}

fn with_runs(runs: &[u8]) -> RawString {
    let mut string = RawString::new(&create().as_bytes()[..HEADER]);
    string.append(runs);
    string
}

#[test]
fn both_forms_hold_what_plain_registers_hold() {
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..30 {
        let (mut sparse, mut dense) = (create(), create_dense());
        let mut plain = [0_u8; REGISTERS];
        let limit = [30, 100, 3000, 20_000][round % 4];
        for _ in 0..random.usize(0..3000) {
            let index = random.usize(0..[REGISTERS, 300][round % 2]);
            let value = random.u8(1..=[4, 34][round % 2]);
            let raised = value > plain[index];
            plain[index] = plain[index].max(value);
            assert_eq!(raise(&mut sparse, index, value, limit), Ok(raised));
            assert_eq!(raise(&mut dense, index, value, limit), Ok(raised));
        }
        assert_eq!(registers(sparse.as_bytes()), plain);
        assert_eq!(registers(dense.as_bytes()), plain);
        assert_eq!(count(sparse.as_bytes()), count(dense.as_bytes()));
        assert!(Form::of(sparse.as_bytes()) == Some(Form::Dense) || sparse.len() <= limit.max(18));
        make_dense(&mut sparse).unwrap();
        assert_eq!(sparse.as_bytes()[HEADER..], dense.as_bytes()[HEADER..]);
    }
}

#[test]
fn estimates_are_near_and_small_ones_exact() {
    let mut string = create();
    let mut next = 0_u64;
    for cardinality in [0_u64, 1, 10, 100, 1000, 10_000, 100_000] {
        while next < cardinality {
            add(&mut string, &next.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes(), MAX).unwrap();
            next += 1;
        }
        let error = count(string.as_bytes()).unwrap().abs_diff(cardinality);
        assert!(error as f64 <= 0.03 * cardinality as f64, "{cardinality}: off by {error}");
    }
    assert_eq!(Form::of(string.as_bytes()), Some(Form::Dense));
}

/// What a real server holds after `PFADD key a b c d e f g`.
#[test]
fn the_bytes_are_valkeys() {
    let mut string = create();
    for element in [b"a", b"b", b"c", b"d", b"e", b"f", b"g"] {
        assert_eq!(add(&mut string, element, MAX), Ok(true));
    }
    assert_eq!(
        describe(string.as_bytes()),
        "Z:1646 v:1,1 Z:5645 v:1,1 Z:1085 v:2,1 z:57 v:1,1 Z:4274 v:2,1 Z:2445 v:1,1 Z:622 v:1,1 Z:603"
    );
    assert_eq!(count(string.as_bytes()), Ok(7));
}

#[test]
fn neighbours_of_one_value_are_joined() {
    let mut string = create();
    for index in [10, 12, 11, 13, 14] {
        raise(&mut string, index, 3, MAX).unwrap();
    }
    assert_eq!(describe(string.as_bytes()), "z:10 v:3,4 v:3,1 Z:16369");
    raise(&mut string, 11, 5, MAX).unwrap();
    assert_eq!(describe(string.as_bytes()), "z:10 v:3,1 v:5,1 v:3,3 Z:16369");
}

#[test]
fn the_cached_estimate_goes_stale() {
    let mut string = create();
    assert_eq!(cached(string.as_bytes()), Some(0));
    assert_eq!(add(&mut string, b"x", MAX), Ok(true));
    assert_eq!(cached(string.as_bytes()), None);
    set_cached(&mut string, 1);
    assert_eq!(add(&mut string, b"x", MAX), Ok(false));
    assert_eq!(cached(string.as_bytes()), Some(1));
}

#[test]
fn what_is_no_hyperloglog_is_refused() {
    let good = create();
    assert_eq!(Form::of(good.as_bytes()), Some(Form::Sparse));
    assert_eq!(Form::of(&good.as_bytes()[..15]), None);
    for (at, byte) in [(0, b'h'), (3, 0), (4, 2), (4, 255), (4, 0)] {
        let mut bad = good.as_bytes().to_vec();
        bad[at] = byte;
        assert_eq!(Form::of(&bad), None, "{at} {byte}");
    }
    let mut dense = create_dense().as_bytes().to_vec();
    assert_eq!(Form::of(&dense), Some(Form::Dense));
    dense.push(0);
    assert_eq!(Form::of(&dense), None);
}

#[test]
fn runs_that_are_not_all_registers_are_refused() {
    for runs in [&b""[..], b"\x00", b"\x7f\xfe", b"\x7f\xff\x00", b"\x7f\xffhello", b"\x7f", b"\x80\x7f\xff"]
    {
        let mut string = with_runs(runs);
        assert_eq!(count(string.as_bytes()), Err(Corrupt), "{runs:x?}");
        assert_eq!(merge(&mut [0; REGISTERS], string.as_bytes()), Err(Corrupt));
        assert_eq!(make_dense(&mut string), Err(Corrupt));
        assert_eq!(string.as_bytes()[HEADER..], *runs);
    }
    // Only the end is missing: a register before it can be raised, one after it cannot.
    let mut string = with_runs(b"\x3f");
    assert_eq!(raise(&mut string, 5, 1, MAX), Ok(true));
    assert_eq!(raise(&mut string, 64, 1, MAX), Err(Corrupt));
}

/// Whatever a client writes, nothing panics and nothing grows beyond the dense form.
#[test]
fn random_strings_do_no_harm() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..20_000 {
        let runs: Vec<u8> = (0..random.usize(0..12)).map(|_| random.u8(..)).collect();
        let mut string = with_runs(&runs);
        let _ = count(string.as_bytes());
        let _ = describe(string.as_bytes());
        for _ in 0..4 {
            let index = if random.bool() { random.usize(0..64) } else { random.usize(0..REGISTERS) };
            let _ = raise(&mut string, index, random.u8(1..52), random.usize(0..40));
        }
        let _ = make_dense(&mut string);
        assert!(string.len() <= DENSE_SIZE);
    }
    let mut dense = create_dense();
    registers_mut(&mut dense).fill(0xff);
    assert_eq!(count(dense.as_bytes()), Ok(1 << 63));
}
