//! GEOSEARCH, GEOSEARCHSTORE and the GEORADIUS family: the places within a shape.
//!
//! Options are read with the source at hand, since a missing member is reported in its turn among the mistakes.

use super::super::arguments::{integer, is_word, small_integer};
use super::super::sorted_set::store;
use super::{GEO_COMMAND, LATITUDE, LONGITUDE, UNIT, place, reply_distance, reply_place, unit};
use crate::algorithms::geohash::{Place, Shape};
use crate::algorithms::numbers::parse_f64;
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{Arg, Args, Begin, Command, Find, KeySpec, Outcome, flag, key_flag};
use crate::types::SortedSet;
use crate::types::sorted_set::{Builder, Order, ScoreRange};

use std::ops::Bound;

/// Which command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// GEORADIUS: the middle and the radius stand first.
    Radius { may_store: bool },
    /// GEORADIUSBYMEMBER: the member and the radius stand first.
    RadiusByMember { may_store: bool },
    /// GEOSEARCH: everything is an option.
    Search,
    /// GEOSEARCHSTORE: the same after the destination.
    SearchStore,
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self, Self::Search | Self::SearchStore)
    }

    fn may_store(self) -> bool {
        matches!(self, Self::Radius { may_store: true } | Self::RadiusByMember { may_store: true })
    }

    /// Where the options begin.
    fn options_at(self) -> usize {
        match self {
            Self::Radius { .. } => 6,
            Self::RadiusByMember { .. } => 5,
            Self::Search => 2,
            Self::SearchStore => 3,
        }
    }
}

/// A shape whose middle may still be unknown.
#[derive(Debug)]
enum Outline {
    Circle { radius: f64, unit: f64 },
    Rectangle { width: f64, height: f64, unit: f64 },
    Polygon(Vec<Place>),
}

impl Outline {
    fn around(self, centre: Place) -> Shape {
        match self {
            Self::Circle { radius, unit } => Shape::Circle { centre, radius, unit },
            Self::Rectangle { width, height, unit } => Shape::Rectangle { centre, width, height, unit },
            Self::Polygon(corners) => Shape::polygon(corners),
        }
    }
}

/// Where a search begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Member,
    Coordinates,
}

/// What is asked for.
#[derive(Debug, Default)]
struct Plan<'a> {
    centre: Place,
    origin: Option<Origin>,
    outline: Option<Outline>,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    order: Option<Order>,
    /// 0: all.
    count: usize,
    /// Any places will do, not the nearest.
    any: bool,
    destination: Option<&'a [u8]>,
    /// The distances are stored instead of the hashes.
    store_distances: bool,
}

/// Where the member of a source lies; `None` for a source that is not there.
fn place_of(source: Option<&SortedSet>, member: &[u8]) -> Result<Option<Place>, CommandError> {
    let Some(set) = source else { return Ok(None) };
    match set.score(member) {
        Some(score) => Ok(Some(Place::of_score(score))),
        None => Err(CommandError::GeoMemberMissing(member.into())),
    }
}

fn circle(radius: &[u8], unit_name: &[u8]) -> Result<Outline, CommandError> {
    let radius = parse_f64(radius).ok_or(CommandError::GeoRadius)?;
    if radius < 0.0 {
        return Err(CommandError::GeoNegativeRadius);
    }
    Ok(Outline::Circle { radius, unit: unit(unit_name)? })
}

fn rectangle(width: &[u8], height: &[u8], unit_name: &[u8]) -> Result<Outline, CommandError> {
    let width = parse_f64(width).ok_or(CommandError::GeoWidth)?;
    let height = parse_f64(height).ok_or(CommandError::GeoHeight)?;
    if height < 0.0 || width < 0.0 {
        return Err(CommandError::GeoNegativeBox);
    }
    Ok(Outline::Rectangle { width, height, unit: unit(unit_name)? })
}

/// The corners after their count; `args` begins with the count.
fn polygon(args: Args<'_>) -> Result<Vec<Place>, CommandError> {
    let count = small_integer(args.at(0)).map_err(|_| CommandError::GeoVerticesNumber)?;
    let coordinates = args.from(1);
    let count = usize::try_from(count)
        .ok()
        .filter(|count| (3..=coordinates.len() / 2).contains(count))
        .ok_or(CommandError::GeoVertices)?;
    (0..count).map(|index| place(coordinates.at(2 * index), coordinates.at(2 * index + 1))).collect()
}

impl<'a> Plan<'a> {
    fn parse(args: Args<'a>, form: Form, source: Option<&SortedSet>) -> Result<Self, CommandError> {
        let mut plan = Self::default();
        match form {
            Form::Radius { .. } => {
                plan.centre = place(args.at(2), args.at(3))?;
                plan.outline = Some(circle(args.at(4), args.at(5))?);
            }
            Form::RadiusByMember { .. } => {
                // Without a source the radius is not looked at, as in Valkey.
                if let Some(centre) = place_of(source, args.at(2))? {
                    plan.centre = centre;
                    plan.outline = Some(circle(args.at(3), args.at(4))?);
                }
            }
            Form::Search => {}
            Form::SearchStore => plan.destination = args.get(1),
        }
        let options = args.from(form.options_at());
        let mut index = 0;
        while let Some(word) = options.get(index) {
            let values = options.from(index + 1);
            index += 1;
            index += match plan.option(word, values, form)? {
                Some(taken) => taken,
                None if form.is_search() => {
                    plan.search_option(word, values, source)?.ok_or(CommandError::Syntax)?
                }
                None => return Err(CommandError::Syntax),
            };
        }
        plan.check(args, form)?;
        Ok(plan)
    }

    /// Takes an option that is not about the shape; gives how many values it had, `None` when it is no such option.
    fn option(&mut self, word: &[u8], values: Args<'a>, form: Form) -> Result<Option<usize>, CommandError> {
        match word {
            word if is_word(word, "withdist") => self.with_distance = true,
            word if is_word(word, "withhash") => self.with_hash = true,
            word if is_word(word, "withcoord") => self.with_place = true,
            word if is_word(word, "any") => self.any = true,
            word if is_word(word, "asc") => self.order = Some(Order::Ascending),
            word if is_word(word, "desc") => self.order = Some(Order::Descending),
            word if is_word(word, "count") && !values.is_empty() => {
                let count = integer(values.at(0))?;
                if count <= 0 {
                    return Err(CommandError::CountMustBePositive);
                }
                self.count = usize::try_from(count).unwrap_or(usize::MAX);
                return Ok(Some(1));
            }
            word if form.may_store()
                && !values.is_empty()
                && (is_word(word, "store") || is_word(word, "storedist")) =>
            {
                self.destination = values.get(0);
                self.store_distances = is_word(word, "storedist");
                return Ok(Some(1));
            }
            word if form == Form::SearchStore && is_word(word, "storedist") => self.store_distances = true,
            _ => return Ok(None),
        }
        Ok(Some(0))
    }

    /// Takes an option about the shape; gives how many values it had, `None` when it is no such option or not
    /// together with what was said before.
    fn search_option(
        &mut self,
        word: &[u8],
        values: Args<'a>,
        source: Option<&SortedSet>,
    ) -> Result<Option<usize>, CommandError> {
        let outline = self.outline.as_ref();
        let polygon_given = matches!(outline, Some(Outline::Polygon(_)));
        let circle_given = matches!(outline, Some(Outline::Circle { .. }));
        let rectangle_given = matches!(outline, Some(Outline::Rectangle { .. }));
        let may_begin_at = |origin: Origin| !polygon_given && self.origin.is_none_or(|given| given == origin);
        match word {
            word if is_word(word, "frommember") && !values.is_empty() && may_begin_at(Origin::Member) => {
                self.centre = place_of(source, values.at(0))?.unwrap_or(self.centre);
                self.origin = Some(Origin::Member);
                Ok(Some(1))
            }
            word if is_word(word, "fromlonlat") && values.len() >= 2 && may_begin_at(Origin::Coordinates) => {
                self.centre = place(values.at(0), values.at(1))?;
                self.origin = Some(Origin::Coordinates);
                Ok(Some(2))
            }
            word if is_word(word, "byradius") && values.len() >= 2 && !rectangle_given && !polygon_given => {
                self.outline = Some(circle(values.at(0), values.at(1))?);
                Ok(Some(2))
            }
            word if is_word(word, "bybox") && values.len() >= 3 && !circle_given && !polygon_given => {
                self.outline = Some(rectangle(values.at(0), values.at(1), values.at(2))?);
                Ok(Some(3))
            }
            word if is_word(word, "bypolygon")
                && values.len() >= 2
                && !circle_given
                && !rectangle_given
                && self.origin.is_none() =>
            {
                let corners = polygon(values)?;
                let taken = 1 + 2 * corners.len();
                self.outline = Some(Outline::Polygon(corners));
                Ok(Some(taken))
            }
            _ => Ok(None),
        }
    }

    fn check(&self, args: Args<'_>, form: Form) -> Result<(), CommandError> {
        if self.destination.is_some() && (self.with_distance || self.with_hash || self.with_place) {
            return Err(CommandError::GeoStoreConflict(if form == Form::SearchStore {
                "GEOSEARCHSTORE"
            } else {
                "STORE option in GEORADIUS"
            }));
        }
        if form.is_search() {
            let polygon = matches!(self.outline, Some(Outline::Polygon(_)));
            if self.origin.is_none() && !polygon {
                return Err(CommandError::GeoCentre(args.at(0).into()));
            }
            if self.outline.is_none() {
                return Err(CommandError::GeoShape(args.at(0).into()));
            }
        }
        if self.any && self.count == 0 {
            return Err(CommandError::GeoAnyWithoutCount);
        }
        Ok(())
    }

    /// The places of the source that are asked for, in order.
    fn find(&mut self, source: Option<&SortedSet>) -> Vec<Found> {
        let (Some(set), Some(outline)) = (source, self.outline.take()) else { return Vec::new() };
        let shape = outline.around(self.centre);
        let mut found = search(set, &shape, if self.any { self.count } else { 0 });
        // The nearest are meant where only some are wanted.
        let nearest = (self.count != 0 && !self.any).then_some(Order::Ascending);
        match self.order.or(nearest) {
            Some(Order::Ascending) => found.sort_by(|one, other| one.distance.total_cmp(&other.distance)),
            Some(Order::Descending) => found.sort_by(|one, other| other.distance.total_cmp(&one.distance)),
            None => {}
        }
        if self.count != 0 {
            found.truncate(self.count);
        }
        for found in &mut found {
            found.distance /= shape.unit();
        }
        found
    }

    fn reply(&self, reply: &mut Reply, found: &[Found]) {
        let options = [self.with_distance, self.with_hash, self.with_place];
        let parts = options.into_iter().filter(|wanted| *wanted).count();
        reply.array(found.len());
        for found in found {
            if parts > 0 {
                reply.array(parts + 1);
            }
            reply.bulk(&found.member);
            if self.with_distance {
                reply_distance(reply, found.distance);
            }
            if self.with_hash {
                reply.int(found.score as i64);
            }
            if self.with_place {
                reply_place(reply, found.place);
            }
        }
    }
}

/// A place that a search found.
#[derive(Debug)]
struct Found {
    member: Vec<u8>,
    score: f64,
    place: Place,
    /// From the middle: metres, then the client's units.
    distance: f64,
}

/// The members within a shape, `limit` at most unless it is 0.
fn search(set: &SortedSet, shape: &Shape, limit: usize) -> Vec<Found> {
    /// Members looked at between two looks at the limit.
    const STRIDE: usize = 64;
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut found = Vec::new();
    for (min, max) in shape.ranges() {
        let ranks = set.score_ranks(&ScoreRange { min: Bound::Included(min), max: Bound::Excluded(max) });
        let mut start = ranks.start;
        while start < ranks.end && found.len() < limit {
            let end = if limit == usize::MAX { ranks.end } else { ranks.end.min(start + STRIDE) };
            set.for_each_in(start..end, Order::Ascending, |member, score| {
                let place = Place::of_score(score);
                if let Some(distance) = shape.distance_within(place)
                    && found.len() < limit
                {
                    found.push(Found { member: member.to_vec(), score, place, distance });
                }
            });
            start = end;
        }
    }
    found
}

fn run(cx: &mut Context<'_>, args: Args<'_>, form: Form) -> Outcome {
    let source = cx.keys.read_as::<SortedSet>(args.at(if form == Form::SearchStore { 2 } else { 1 }))?;
    let mut plan = Plan::parse(args, form, source.as_deref())?;
    let found = plan.find(source.as_deref());
    let Some(destination) = plan.destination else {
        plan.reply(cx.reply, &found);
        return Ok(());
    };
    let mut members = Builder::default();
    for found in &found {
        let score = if plan.store_distances { found.distance } else { found.score };
        // Between antipodes rounding can leave no number, which no sorted set takes.
        if !score.is_nan() {
            members.add(&found.member, score, |present| present);
        }
    }
    let event = if form == Form::SearchStore { "geosearchstore" } else { "georadiusstore" };
    let count = members.len();
    store(cx, destination, members, event);
    cx.count_changes(count.saturating_sub(1));
    Ok(())
}

const SOURCE: KeySpec = KeySpec::one(1, key_flag::RO | key_flag::ACCESS);

/// A destination after a word.
const fn destination(word: &'static str, from: i32) -> KeySpec {
    KeySpec {
        flags: key_flag::OW | key_flag::UPDATE | key_flag::VARIABLE_FLAGS,
        begin: Begin::Keyword(word, from),
        find: Find::Range { last: 0, step: 1, limit: 0 },
        notes: "",
    }
}

const WITH_COORD: Arg = Arg::flag("withcoord", "WITHCOORD").optional();
const WITH_DIST: Arg = Arg::flag("withdist", "WITHDIST").optional();
const WITH_HASH: Arg = Arg::flag("withhash", "WITHHASH").optional();
const COUNT: Arg =
    Arg::block("count-block", &[Arg::integer("count").token("COUNT"), Arg::flag("any", "ANY").optional()])
        .optional();
const COUNT_SINCE: Arg = Arg::block(
    "count-block",
    &[Arg::integer("count").token("COUNT"), Arg::flag("any", "ANY").since("6.2.0").optional()],
)
.optional();
const ORDER: Arg = Arg::one_of("order", &[Arg::flag("asc", "ASC"), Arg::flag("desc", "DESC")]).optional();
const STORE: Arg = Arg::one_of(
    "store",
    &[
        Arg::key("storekey").shown_as("key").of_key_spec(1).token("STORE"),
        Arg::key("storedistkey").shown_as("key").of_key_spec(2).token("STOREDIST"),
    ],
)
.optional();
const RADIUS_HISTORY: &[(&str, &str)] =
    &[("6.2.0", "New option for `COUNT`: `ANY`."), ("7.0.0", "Takes unit names in capital letters.")];
const SEARCH_HISTORY: &[(&str, &str)] =
    &[("7.0.0", "Takes unit names in capital letters."), ("9.0.0", "New option: `BYPOLYGON`.")];

const RADIUS_COMMAND: Command = Command {
    since: "3.2.0",
    complexity: "O(N+log(M)), N members in the square about the circle, M in the sorted set.",
    history: RADIUS_HISTORY,
    ..GEO_COMMAND
};

pub(super) const GEORADIUS: Command = Command {
    name: "georadius",
    arity: -6,
    flags: flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS,
    keys: &[SOURCE, destination("STORE", 6), destination("STOREDIST", 6)],
    summary: "Gives the members within a radius of a point, or stores them.",
    arguments: &[
        Arg::key("key"),
        LONGITUDE,
        LATITUDE,
        Arg::double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT_SINCE,
        ORDER,
        STORE,
    ],
    handler: |cx, args| run(cx, args, Form::Radius { may_store: true }),
    ..RADIUS_COMMAND
};

pub(super) const GEORADIUS_RO: Command = Command {
    name: "georadius_ro",
    arity: -6,
    flags: flag::READONLY,
    keys: &[SOURCE],
    since: "3.2.10",
    summary: "Gives the members within a radius of a point.",
    arguments: Arg::all_but_last(GEORADIUS.arguments),
    handler: |cx, args| run(cx, args, Form::Radius { may_store: false }),
    ..RADIUS_COMMAND
};

pub(super) const GEORADIUSBYMEMBER: Command = Command {
    name: "georadiusbymember",
    arity: -5,
    flags: flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS,
    keys: &[SOURCE, destination("STORE", 5), destination("STOREDIST", 5)],
    summary: "Gives the members within a radius of another, or stores them.",
    arguments: &[
        Arg::key("key"),
        Arg::string("member"),
        Arg::double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT,
        ORDER,
        STORE,
    ],
    handler: |cx, args| run(cx, args, Form::RadiusByMember { may_store: true }),
    ..RADIUS_COMMAND
};

pub(super) const GEORADIUSBYMEMBER_RO: Command = Command {
    name: "georadiusbymember_ro",
    arity: -5,
    flags: flag::READONLY,
    keys: &[SOURCE],
    since: "3.2.10",
    summary: "Gives the members within a radius of another.",
    arguments: Arg::all_but_last(GEORADIUSBYMEMBER.arguments),
    handler: |cx, args| run(cx, args, Form::RadiusByMember { may_store: false }),
    ..RADIUS_COMMAND
};

/// `FROM` of a search.
const FROM: Arg = Arg::one_of(
    "from",
    &[
        Arg::string("member").token("FROMMEMBER"),
        Arg::block("fromlonlat", &[LONGITUDE, LATITUDE]).token("FROMLONLAT"),
    ],
)
.optional();

/// `BY` of a search.
const BY: Arg = Arg::one_of(
    "by",
    &[
        Arg::block("circle", &[Arg::double("radius").token("BYRADIUS"), UNIT]),
        Arg::block("box", &[Arg::double("width").token("BYBOX"), Arg::double("height"), UNIT]),
        Arg::block(
            "polygon",
            &[
                Arg::integer("num-vertices").token("BYPOLYGON"),
                Arg::block("vertices", &[LONGITUDE, LATITUDE]).multiple(),
            ],
        )
        .since("9.0.0"),
    ],
);

const SEARCH_COMMAND: Command = Command {
    since: "6.2.0",
    complexity: "O(N+log(M)), N members in the square about the shape, M in the shape.",
    history: SEARCH_HISTORY,
    ..GEO_COMMAND
};

pub(super) const GEOSEARCH: Command = Command {
    name: "geosearch",
    arity: -7,
    flags: flag::READONLY,
    keys: &[SOURCE],
    summary: "Gives the members within a circle, a box or a polygon.",
    arguments: &[Arg::key("key"), FROM, BY, ORDER, COUNT, WITH_COORD, WITH_DIST, WITH_HASH],
    handler: |cx, args| run(cx, args, Form::Search),
    ..SEARCH_COMMAND
};

pub(super) const GEOSEARCHSTORE: Command = Command {
    name: "geosearchstore",
    arity: -8,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[
        KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
        KeySpec::one(2, key_flag::RO | key_flag::ACCESS),
    ],
    summary: "Stores the members within a circle, a box or a polygon.",
    arguments: &[
        Arg::key("destination"),
        Arg::key("source").of_key_spec(1),
        FROM,
        BY,
        ORDER,
        COUNT,
        Arg::flag("storedist", "STOREDIST").optional(),
    ],
    handler: |cx, args| run(cx, args, Form::SearchStore),
    ..SEARCH_COMMAND
};
