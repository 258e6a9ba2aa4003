//! Commands of sets: adding and taking away, asking, random members, intersection, union and difference.

mod algebra;
mod change;
mod random;
mod read;

use crate::resp::Reply;
use crate::server::command::{Arg, Command, Group, category};
use crate::types::set::MemberRef;

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    change::SADD,
    change::SREM,
    change::SMOVE,
    read::SCARD,
    read::SISMEMBER,
    read::SMISMEMBER,
    read::SMEMBERS,
    read::SSCAN,
    random::SPOP,
    random::SRANDMEMBER,
    algebra::SINTER,
    algebra::SINTERCARD,
    algebra::SINTERSTORE,
    algebra::SUNION,
    algebra::SUNIONSTORE,
    algebra::SDIFF,
    algebra::SDIFFSTORE,
];

/// What the commands of this family have in common.
const SET_COMMAND: Command = Command { group: Group::Set, categories: category::SET, ..Command::DEFAULT };

const KEY: Arg = Arg::key("key");

fn write_member(reply: &mut Reply, member: MemberRef<'_>) {
    match member {
        MemberRef::Int(integer) => reply.bulk_int(integer),
        MemberRef::Bytes(bytes) => reply.bulk(bytes),
    }
}
