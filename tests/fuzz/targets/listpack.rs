//! A listpack of a stranger: refused, or read alike from both ends and after any changes still what a model of it is.

use weighbridge::structures::listpack::Listpack;

use crate::mutation::Grammar;

fn listpack(values: &[&[u8]]) -> Vec<u8> {
    let mut listpack = Listpack::new();
    values.iter().for_each(|value| listpack.push_back(*value));
    // What to do with it, then its bytes.
    [&[3, 0x10, 0x57, 0xa2][..], listpack.as_bytes()].concat()
}

pub fn grammar() -> Grammar {
    let long = vec![b'x'; 5000];
    let pieces = vec![
        listpack(&[b"a", b"1", b"-70000", b"9223372036854775807"]),
        listpack(&[&long[..63], &long[..64], b"127", b"128", b"4095", b"4096", b"-8388608"]),
        listpack(&[&long[..4095], &long[..4096], b"2147483647", b""]),
        listpack(&[]),
    ];
    let words = vec![
        vec![0xff],
        vec![0xf0, 5, 0, 0, 0],
        vec![0xf1, 0, 1, 3],
        vec![0xf4],
        vec![0xe0, 1],
        vec![0x81, b'y', 2],
    ];
    Grammar { head: Vec::new(), pieces, tail: Vec::new(), words }
}

fn values(listpack: &Listpack) -> Vec<Vec<u8>> {
    listpack.iter().map(|value| value.to_vec()).collect()
}

pub fn run(input: &[u8]) {
    let Some((count, rest)) = input.split_first() else { return };
    let Some((changes, bytes)) = rest.split_at_checked(usize::from(*count % 64)) else { return };
    let Ok(mut listpack) = Listpack::from_bytes(bytes) else { return };
    let mut model = values(&listpack);
    let mut backwards = Vec::new();
    let mut position = listpack.last();
    while let Some(at) = position {
        backwards.push(listpack.get(at).unwrap().to_vec());
        position = listpack.prev(at);
    }
    backwards.reverse();
    assert_eq!(backwards, model);
    for change in changes {
        apply(&mut listpack, &mut model, *change);
        assert_eq!(listpack.len(), model.len());
        assert!(
            Listpack::from_bytes(listpack.as_bytes()).is_ok(),
            "not well-formed after change {change:#x}"
        );
    }
    assert_eq!(values(&listpack), model);
}

/// One change of both: what in the upper bits, where in the lower ones.
fn apply(listpack: &mut Listpack, model: &mut Vec<Vec<u8>>, change: u8) {
    let text = vec![change; usize::from(change) * 2];
    let number = i64::from(change).pow(u32::from(change % 8)).to_string().into_bytes();
    let value = if change & 8 == 0 { text } else { number };
    let index = usize::from(change & 7);
    let place = listpack.at(index as i64);
    assert_eq!(place.is_some(), index < model.len());
    match (change >> 4, place) {
        (0..=2, Some(at)) => {
            listpack.insert_before(at, value.as_slice());
            model.insert(index, value);
        }
        (3..=4, Some(at)) => {
            listpack.insert_after(at, value.as_slice());
            model.insert(index + 1, value);
        }
        (5..=7, Some(at)) => {
            listpack.replace(at, value.as_slice());
            model[index] = value;
        }
        (8..=10, Some(at)) => {
            listpack.remove(at);
            model.remove(index);
        }
        (11, _) => {
            listpack.remove_range(index as i64, 3);
            let from = index.min(model.len());
            model.drain(from..(from + 3).min(model.len()));
        }
        (12, Some(_)) => {
            let rest = listpack.split_off(index);
            listpack.append(&rest);
        }
        (13, _) => {
            listpack.push_front(value.as_slice());
            model.insert(0, value);
        }
        _ => {
            listpack.push_back(value.as_slice());
            model.push(value);
        }
    }
}
