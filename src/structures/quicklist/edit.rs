//! Changes of a list: at the ends, at an index, over a range, by value; and how nodes are split, merged and compressed.

use super::node::Node;
use super::{Direction, End, Quicklist, Side};
use crate::memory::usable_size;
use crate::structures::listpack::{Listpack, Value};

const LISTPACK_FRAME: usize = 7;
const SHRINK_ABOVE: usize = 8;

/// Nodes.
impl Quicklist {
    fn new_node(&self, value: &[u8]) -> Node {
        if self.limits.is_large(value.len()) { Node::plain(value) } else { Node::packed_with(value) }
    }

    fn insert_node(&mut self, number: usize, node: Node) {
        let count = self.nodes.len();
        if count == self.nodes.capacity() {
            // A fifth more at a time, up to what the allocator would give anyway.
            let wanted = usable_size((count + 1 + count / 5) * size_of::<Node>()) / size_of::<Node>();
            self.nodes.reserve_exact(wanted.max(count + 1) - count);
        }
        self.len += node.len();
        self.nodes.insert(number, node);
    }

    fn remove_nodes(&mut self, from: usize, count: usize) {
        let removed: usize = self.nodes.drain(from..from + count).map(|node| node.len()).sum();
        self.len -= removed;
        let (kept, capacity) = (self.nodes.len(), self.nodes.capacity());
        if capacity > SHRINK_ABOVE && kept < capacity / 2 {
            self.nodes.shrink_to(kept + kept / 4);
        }
    }

    /// Changes the listpack of a node; a node that becomes empty is removed. `false`: it was.
    fn edit(
        &mut self,
        number: usize,
        added: usize,
        removed: usize,
        edit: impl FnOnce(&mut Listpack),
    ) -> bool {
        let Some(node) = self.nodes.get_mut(number) else { return false };
        if node.edit(added, removed, edit).is_none() {
            return true;
        }
        self.len = self.len + added - removed;
        if node.len() > 0 {
            return true;
        }
        self.remove_nodes(number, 1);
        false
    }

    fn admits(&self, number: usize, added: usize) -> bool {
        let limits = self.limits;
        self.nodes
            .get(number)
            .is_some_and(|node| !node.is_plain() && limits.admits(node.raw_len(), node.len(), added))
    }

    /// Splits a packed node: the elements from `offset` on go to a new node behind it.
    fn split(&mut self, number: usize, offset: usize) {
        let Some(node) = self.nodes.get_mut(number) else { return };
        let moved = node.len() - offset;
        if let Some(right) = node.edit(0, moved, |listpack| listpack.split_off(offset)) {
            self.len -= moved;
            self.insert_node(number + 1, Node::packed(right));
        }
    }

    /// Merges a node with the one behind it, where both are packed and fit into one.
    fn merge(&mut self, number: usize) -> bool {
        let (Some(left), Some(right)) = (self.nodes.get(number), self.nodes.get(number + 1)) else {
            return false;
        };
        let bytes = left.raw_len() + right.raw_len() - LISTPACK_FRAME;
        if left.is_plain() || right.is_plain() || self.limits.exceeded_by(bytes, left.len() + right.len()) {
            return false;
        }
        let Some(mut right) = self.nodes.remove(number + 1) else { return false };
        right.decompress();
        let added = right.len();
        if let (Some(left), Some(listpack)) = (self.nodes.get_mut(number), right.listpack()) {
            left.edit(added, 0, |left| left.append(listpack));
        }
        true
    }

    /// Merges what fits among a node and its two neighbours on each side.
    fn merge_around(&mut self, center: usize) {
        let mut center = center;
        if center >= 2 && self.merge(center - 2) {
            center -= 1;
        }
        self.merge(center + 1);
        if center >= 1 && self.merge(center - 1) {
            center -= 1;
        }
        self.merge(center);
        self.settle(center);
    }

    /// Makes the nodes near the ends readable and compresses those further inside that a change near `center` may
    /// have left uncompressed.
    fn settle(&mut self, center: usize) {
        let (depth, count) = (usize::from(self.limits.compress_depth()), self.nodes.len());
        if depth == 0 {
            return;
        }
        for number in 0..depth.min(count) {
            self.nodes.get_mut(number).into_iter().for_each(Node::decompress);
            self.nodes.get_mut(count - 1 - number).into_iter().for_each(Node::decompress);
        }
        if count <= 2 * depth {
            return;
        }
        let inside = depth..count - depth;
        let near = center.saturating_sub(2)..=center + 2;
        for number in near.chain([depth, count - 1 - depth]).filter(|number| inside.contains(number)) {
            self.nodes.get_mut(number).into_iter().for_each(Node::compress);
        }
    }
}

/// Elements.
impl Quicklist {
    /// Adds an element at an end.
    pub fn push(&mut self, end: End, value: &[u8]) {
        let last = match end {
            End::Head => 0,
            End::Tail => self.nodes.len().saturating_sub(1),
        };
        if self.admits(last, value.len()) {
            self.edit(last, 1, 0, |listpack| match end {
                End::Head => listpack.push_front(value),
                End::Tail => listpack.push_back(value),
            });
            return;
        }
        let number = if end == End::Head { 0 } else { self.nodes.len() };
        self.insert_node(number, self.new_node(value));
        self.settle(number);
    }

    /// Removes the element at an end; `false` when the list is empty.
    pub fn remove_end(&mut self, end: End) -> bool {
        let last = match end {
            End::Head => 0,
            End::Tail => self.nodes.len().saturating_sub(1),
        };
        let Some(node) = self.nodes.get(last) else { return false };
        if node.is_plain() {
            self.remove_nodes(last, 1);
            self.settle(last);
            return true;
        }
        let kept = self.edit(last, 0, 1, |listpack| {
            let position = if end == End::Head { listpack.first() } else { listpack.last() };
            position.map(|position| listpack.remove(position));
        });
        if !kept {
            self.settle(last);
        }
        true
    }

    /// Takes the element at an end: gives it to `take`, then removes it.
    pub fn pop<R>(&mut self, end: End, take: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        let taken = take(self.peek(end)?);
        self.remove_end(end);
        Some(taken)
    }

    /// Inserts an element beside the one of `index`; `false` when there is no such index.
    pub fn insert(&mut self, index: usize, side: Side, value: &[u8]) -> bool {
        let Some((number, offset)) = self.locate(index) else { return false };
        self.insert_at(number, offset, side, value);
        true
    }

    fn insert_at(&mut self, number: usize, offset: usize, side: Side, value: &[u8]) {
        let after = side == Side::After;
        let (behind, cut) = if after { (number + 1, offset + 1) } else { (number, offset) };
        let len = self.nodes.get(number).map_or(0, Node::len);
        let at_border = cut == 0 || cut == len;
        let neighbour = if after { Some(number + 1) } else { number.checked_sub(1) };
        if self.admits(number, value.len()) {
            self.edit(number, 1, 0, |listpack| {
                let position = listpack.at(cut as i64);
                listpack.insert_all_before(position, &[Value::Bytes(value)]);
            });
            self.settle(number);
        } else if at_border {
            match neighbour.filter(|neighbour| self.admits(*neighbour, value.len())) {
                Some(neighbour) => {
                    self.edit(neighbour, 1, 0, |listpack| match side {
                        Side::Before => listpack.push_back(value),
                        Side::After => listpack.push_front(value),
                    });
                }
                None => self.insert_node(behind, self.new_node(value)),
            }
            self.settle(number);
        } else {
            self.split(number, cut);
            if self.limits.is_large(value.len()) {
                self.insert_node(number + 1, Node::plain(value));
                self.settle(number + 1);
                return;
            }
            let (target, center) = if after { (number + 1, number) } else { (number, number + 1) };
            self.edit(target, 1, 0, |listpack| match side {
                Side::Before => listpack.push_back(value),
                Side::After => listpack.push_front(value),
            });
            self.merge_around(center);
        }
    }

    /// Replaces the element of `index`; `false` when there is no such index.
    pub fn replace(&mut self, index: usize, value: &[u8]) -> bool {
        let Some((number, offset)) = self.locate(index) else { return false };
        let Some(node) = self.nodes.get_mut(number) else { return false };
        let large = self.limits.is_large(value.len());
        if node.is_plain() {
            if large {
                *node = Node::plain(value);
            } else {
                self.insert_at(number, 0, Side::After, value);
                self.remove_nodes(number, 1);
            }
            self.settle(number);
            return true;
        }
        node.decompress();
        let fits = node.listpack().is_some_and(|listpack| listpack.has_room_for(value.len()));
        if fits && !large {
            self.edit(number, 0, 0, |listpack| {
                if let Some(position) = listpack.at(offset as i64) {
                    listpack.replace(position, value);
                }
            });
            self.settle(number);
            return true;
        }
        let len = node.len();
        if offset + 1 < len {
            self.split(number, offset + 1);
        }
        self.insert_node(number + 1, self.new_node(value));
        if self.edit(number, 0, 1, |listpack| listpack.remove_range(-1, 1)) {
            self.merge_around(number + 1);
        } else {
            self.settle(number);
        }
        true
    }

    /// Removes up to `count` elements from `index` on and returns how many there were.
    pub fn remove_range(&mut self, index: usize, count: usize) -> usize {
        let Some((first, mut offset)) = self.locate(index) else { return 0 };
        let wanted = count.min(self.len - index);
        let mut left = wanted;
        let (mut number, mut whole) = (first, 0);
        while left > 0 {
            let Some(node) = self.nodes.get(number + whole) else { break };
            let taken = (node.len() - offset).min(left);
            if taken == node.len() {
                whole += 1;
            } else {
                self.edit(number + whole, 0, taken, |listpack| listpack.remove_range(offset as i64, taken));
                number += usize::from(whole == 0);
            }
            left -= taken;
            offset = 0;
        }
        self.remove_nodes(number, whole);
        self.settle(first);
        wanted - left
    }

    /// Removes up to `max` elements equal to `value`, looking in the given direction, and returns how many it were.
    pub fn remove_matching(&mut self, value: &[u8], max: usize, direction: Direction) -> usize {
        let mut removed = 0;
        let mut remaining = self.nodes.len();
        let mut number = if direction == Direction::Forward { 0 } else { remaining.saturating_sub(1) };
        while removed < max && remaining > 0 {
            let (found, kept) = self.remove_matching_in(number, value, max - removed, direction);
            removed += found;
            remaining -= 1;
            if direction == Direction::Backward {
                number = number.saturating_sub(1);
            } else if kept {
                number += 1;
            }
        }
        removed
    }

    fn remove_matching_in(
        &mut self,
        number: usize,
        value: &[u8],
        max: usize,
        direction: Direction,
    ) -> (usize, bool) {
        let Some(node) = self.nodes.get(number) else { return (0, false) };
        let unpacked = node.decompressed();
        let readable = unpacked.as_ref().unwrap_or(node);
        let (found, kept) = match readable.listpack() {
            None if readable.element() == Some(value) => {
                self.remove_nodes(number, 1);
                (1, false)
            }
            None => (0, true),
            Some(listpack) => match listpack.iter().filter(|element| element.equals(value)).take(max).count()
            {
                0 => (0, true),
                found => {
                    (found, self.edit(number, 0, found, |node| remove_equal(node, value, found, direction)))
                }
            },
        };
        if found > 0 {
            self.settle(number);
        }
        (found, kept)
    }

    /// Adds a listpack as a node of its own at the tail (the snapshot reader); an empty one adds nothing.
    pub fn append_listpack(&mut self, listpack: Listpack) {
        if !listpack.is_empty() {
            self.append_node(Node::packed(listpack));
        }
    }

    /// Adds a large element as a node of its own at the tail (the snapshot reader).
    pub fn append_plain(&mut self, element: &[u8]) {
        self.append_node(Node::plain(element));
    }

    fn append_node(&mut self, node: Node) {
        let number = self.nodes.len();
        self.insert_node(number, node);
        self.settle(number);
    }
}

fn remove_equal(listpack: &mut Listpack, value: &[u8], count: usize, direction: Direction) {
    if direction == Direction::Forward {
        let mut from = listpack.first();
        for _ in 0..count {
            let Some(found) = from.and_then(|from| listpack.find(from, value, 1)) else { return };
            from = listpack.remove(found);
        }
        return;
    }
    let mut left = count;
    let mut position = listpack.last();
    while let Some(at) = position.filter(|_| left > 0) {
        position = listpack.prev(at);
        if listpack.get(at).is_some_and(|element| element.equals(value)) {
            listpack.remove(at);
            left -= 1;
        }
    }
}
