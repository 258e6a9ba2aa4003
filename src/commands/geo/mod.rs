//! Places: sorted sets whose scores are hashes of positions (`algorithms::geohash`).
//!
//! Here are the commands about single members and what all of them share; searching is in `search.rs`.

mod search;

use super::arguments::{double, is_word};
use super::sorted_set;
use crate::algorithms::geohash::Place;
use crate::algorithms::numbers::LongDouble;
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{
    Arg, Args, Command, Group, KeySpec, Outcome, Request, category, flag, key_flag,
};
use crate::types::SortedSet;

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    GEOADD,
    GEODIST,
    GEOHASH,
    GEOPOS,
    search::GEORADIUS,
    search::GEORADIUS_RO,
    search::GEORADIUSBYMEMBER,
    search::GEORADIUSBYMEMBER_RO,
    search::GEOSEARCH,
    search::GEOSEARCHSTORE,
];

/// What all commands of the family have in common.
const GEO_COMMAND: Command = Command { categories: category::GEO, group: Group::Geo, ..Command::DEFAULT };

/// The units of length in a command's documented syntax.
const UNIT: Arg = Arg::one_of(
    "unit",
    &[Arg::flag("m", "M"), Arg::flag("km", "KM"), Arg::flag("ft", "FT"), Arg::flag("mi", "MI")],
);

const LONGITUDE: Arg = Arg::double("longitude");
const LATITUDE: Arg = Arg::double("latitude");

/// A longitude and the latitude after it.
///
/// # Errors
/// `value is not a valid float`; the pair, when it is not on the map.
fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, CommandError> {
    let place = Place { longitude: double(longitude)?, latitude: double(latitude)? };
    if place.is_on_map() {
        Ok(place)
    } else {
        Err(CommandError::GeoCoordinates(place.longitude, place.latitude))
    }
}

/// Metres in a unit.
///
/// # Errors
/// `unsupported unit provided`.
fn unit(word: &[u8]) -> Result<f64, CommandError> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let found = UNITS.into_iter().find(|(name, _)| is_word(word, name));
    found.map(|(_, metres)| metres).ok_or(CommandError::GeoUnit)
}

fn reply_place(reply: &mut Reply, place: Place) {
    reply.array(2);
    for coordinate in [place.longitude, place.latitude] {
        reply.double_text(&LongDouble::from_f64(coordinate).to_text());
    }
}

/// A distance with four digits after the point, as a bulk string.
fn reply_distance(reply: &mut Reply, distance: f64) {
    const SCALE: f64 = 10_000.0;
    let scaled = (distance * SCALE).round_ties_even();
    // What no integer holds becomes the least one, as in C.
    let scaled = if scaled.abs() < -(i64::MIN as f64) { scaled as i64 } else { i64::MIN };
    let sign = if scaled < 0 { "-" } else { "" };
    let digits = scaled.unsigned_abs();
    reply.bulk(format!("{sign}{}.{:04}", digits / 10_000, digits % 10_000).as_bytes());
}

const GEOADD: Command = Command {
    name: "geoadd",
    arity: -5,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    since: "3.2.0",
    complexity: "O(log(N)) for each member, N members in the set.",
    summary: "Adds places to a sorted set or moves them. Creates the key if it is not there.",
    arguments: &[
        Arg::key("key"),
        Arg::one_of("condition", &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX")]).since("6.2.0").optional(),
        Arg::flag("change", "CH").since("6.2.0").optional(),
        Arg::block("data", &[LONGITUDE, LATITUDE, Arg::string("member")]).multiple(),
    ],
    history: &[("6.2.0", "New options: `CH`, `NX`, `XX`.")],
    handler: geoadd,
    ..GEO_COMMAND
};

fn geoadd(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let words = args.from(2).iter();
    let options: Vec<_> =
        words.take_while(|word| ["nx", "xx", "ch"].iter().any(|option| is_word(word, option))).collect();
    let given = |option: &str| options.iter().any(|word| is_word(word, option));
    let places = args.from(2 + options.len());
    if !places.len().is_multiple_of(3) || (given("nx") && given("xx")) {
        return Err(CommandError::Syntax);
    }
    let mut request = Request::default();
    request.push(b"ZADD");
    request.push(args.at(1));
    for option in &options {
        request.push(option);
    }
    for first in (0..places.len()).step_by(3) {
        let place = place(places.at(first), places.at(first + 1))?;
        request.push(itoa::Buffer::new().format(place.score()).as_bytes());
        request.push(places.at(first + 2));
    }
    let changes = cx.keys.keyspace.counters.changes;
    sorted_set::zadd(cx, request.args())?;
    if cx.keys.keyspace.counters.changes > changes {
        // By scores: who is told need not compute with the same floats.
        cx.propagate_as(&request.args().iter().collect::<Vec<_>>());
    }
    Ok(())
}

const GEODIST: Command = Command {
    name: "geodist",
    arity: -4,
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    since: "3.2.0",
    summary: "Gives the distance between two members of a sorted set of places.",
    arguments: &[Arg::key("key"), Arg::string("member1"), Arg::string("member2"), UNIT.optional()],
    handler: geodist,
    ..GEO_COMMAND
};

fn geodist(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let unit = match args.len() {
        4 => 1.0,
        5 => unit(args.at(4))?,
        _ => return Err(CommandError::Syntax),
    };
    let set = cx.keys.read_as::<SortedSet>(args.at(1))?;
    let scores = set.and_then(|set| Some((set.score(args.at(2))?, set.score(args.at(3))?)));
    match scores {
        Some((one, other)) => {
            let distance = Place::of_score(one).distance(Place::of_score(other));
            reply_distance(cx.reply, distance / unit);
        }
        None => cx.reply.null(),
    }
    Ok(())
}

const GEOHASH: Command = Command {
    name: "geohash",
    arity: -2,
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    since: "3.2.0",
    complexity: "O(1) for each member.",
    summary: "Gives the places of members as geohash strings.",
    arguments: &[Arg::key("key"), Arg::string("member").optional().multiple()],
    handler: geohash,
    ..GEO_COMMAND
};

fn geohash(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let set = cx.keys.read_as::<SortedSet>(args.at(1))?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for member in members.iter() {
        match set.as_ref().and_then(|set| set.score(member)) {
            Some(score) => cx.reply.bulk(&Place::of_score(score).text()),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

const GEOPOS: Command = Command {
    name: "geopos",
    arity: -2,
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    since: "3.2.0",
    complexity: "O(1) for each member.",
    summary: "Gives the longitudes and latitudes of members.",
    arguments: &[Arg::key("key"), Arg::string("member").optional().multiple()],
    handler: geopos,
    ..GEO_COMMAND
};

fn geopos(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let set = cx.keys.read_as::<SortedSet>(args.at(1))?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for member in members.iter() {
        match set.as_ref().and_then(|set| set.score(member)) {
            Some(score) => reply_place(cx.reply, Place::of_score(score)),
            None => cx.reply.null_array(),
        }
    }
    Ok(())
}
