//! Whether two servers said the same, as far as they have to: what is drawn by chance is compared by its kind and
//! number, what has no order without regard to it, what tells the time within a tolerance. All else to the letter.

use super::frame::Frame;
use super::link::Words;
use super::session::Session;
use super::stage::{Kind, Said, Step};

/// Milliseconds by which two servers' clocks may be apart at the same step.
const TOLERANCE: i64 = 120_000;

/// Where two servers first disagreed.
#[derive(Debug, Clone)]
pub struct Difference {
    pub step: usize,
    pub kind: Kind,
    /// The command that did it, for counting kinds of differences.
    pub name: String,
    pub ours: String,
    pub theirs: String,
}

impl Difference {
    /// The same kind of difference, for shrinking.
    pub fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && (self.name == other.name || self.kind == Kind::Digest)
    }
}

/// How the replies of a command are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    Exact,
    /// Elements in any order.
    Unordered,
    /// Pairs of elements in any order.
    UnorderedPairs,
    /// Kind and number only.
    Shape,
    /// A cursor and elements; nothing is said of those of a scan that has not ended.
    Scan,
    /// Numbers within the tolerance.
    Time,
    /// Times are where their names say, and last but one in what is pending.
    Information,
    /// Texts of our own: only the kind.
    Kind,
    /// Valkey's replies refer to long strings until they are sent.
    References,
    /// What DUMP writes.
    Payload,
}

fn has(request: &Words, option: &[u8]) -> bool {
    request.iter().skip(2).any(|word| word.eq_ignore_ascii_case(option))
}

fn rule(request: &Words) -> Rule {
    let name = request[0].to_ascii_lowercase();
    if request.len() == 2 && request[1].eq_ignore_ascii_case(b"help") {
        return Rule::Kind;
    }
    match name.as_slice() {
        b"smembers" | b"sinter" | b"sunion" | b"sdiff" | b"hkeys" | b"hvals" | b"keys" | b"pubsub" => {
            Rule::Unordered
        }
        b"hgetall" => Rule::UnorderedPairs,
        b"spop" | b"srandmember" | b"hrandfield" | b"zrandmember" | b"randomkey" => Rule::Shape,
        b"scan" if request.get(1).is_some_and(|cursor| cursor != b"0") => Rule::Kind,
        b"sscan" | b"hscan" | b"zscan" if request.get(2).is_some_and(|cursor| cursor != b"0") => Rule::Kind,
        b"scan" | b"sscan" | b"hscan" | b"zscan" => Rule::Scan,
        b"ttl" | b"pttl" | b"expiretime" | b"pexpiretime" | b"httl" | b"hpttl" | b"hexpiretime"
        | b"hpexpiretime" => Rule::Time,
        b"object" if request.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"freq")) => Rule::Shape,
        b"object" if request.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"refcount")) => {
            Rule::References
        }
        b"object" if request.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"idletime")) => Rule::Time,
        b"xpending" | b"xinfo" => Rule::Information,
        b"sort" | b"sort_ro" if has(request, b"by") => sorting_rule(request),
        b"dump" => Rule::Payload,
        b"hello" => Rule::Kind,
        _ => Rule::Exact,
    }
}

/// Elements whose weights are the same text, or that are not sorted at all, come in the order of the set's table.
fn sorting_rule(request: &Words) -> Rule {
    let is_sorted =
        request.windows(2).all(|pair| !pair[0].eq_ignore_ascii_case(b"by") || pair[1].contains(&b'*'));
    match (is_sorted && !has(request, b"alpha"), has(request, b"limit")) {
        (true, _) => Rule::Exact,
        (false, false) => Rule::Unordered,
        (false, true) => Rule::Shape,
    }
}

/// Payloads are the same bytes, but for the order of a table's elements, the times in a stream, and how a list's nodes
/// are compressed.
fn agree_on_payload(ours: &Frame, theirs: &Frame) -> bool {
    /// RDB types of sets (a listpack may have been filled from a table), of hashes as tables, and of streams.
    const SAME_LENGTH: [u8; 7] = [2, 4, 15, 19, 20, 21, 22];
    /// RDB's type of a list, and the byte that a compressed string begins with.
    const LIST: u8 = 18;
    const COMPRESSED: u8 = 0xc3;
    match (ours.text(), theirs.text()) {
        (Some([kind, one @ ..]), Some([other_kind, other @ ..])) if kind == other_kind => {
            let is_compressed = *kind == LIST && one.contains(&COMPRESSED) && other.contains(&COMPRESSED);
            one == other || is_compressed || SAME_LENGTH.contains(kind) && one.len() == other.len()
        }
        _ => ours == theirs,
    }
}

/// Notifications in their order, but for misses and expired keys: those of weights and scans come in the order of a
/// table.
fn agree_on_events(ours: &[Frame], theirs: &[Frame]) -> bool {
    let is_unordered = |event: &Frame| {
        event.children().iter().filter_map(Frame::text).any(|text| {
            matches!(text, b"keymiss" | b"expired")
                || text.starts_with(b"__keyevent")
                    && (text.ends_with(b":keymiss") || text.ends_with(b":expired"))
        })
    };
    let split = |events: &[Frame]| {
        let (mut unordered, others): (Vec<Frame>, Vec<Frame>) =
            events.iter().cloned().partition(&is_unordered);
        unordered.sort_unstable();
        (unordered, others)
    };
    ours == theirs || split(ours) == split(theirs)
}

fn agree_on_times(ours: &Frame, theirs: &Frame) -> bool {
    if let (Some(one), Some(other)) = (ours.integer(), theirs.integer()) {
        return one == other
            || one > 1 && other > 1 && one.abs_diff(other) <= TOLERANCE.unsigned_abs()
            || one.min(other) >= 0 && one.max(other) <= TOLERANCE;
    }
    agree_on_children(ours, theirs, agree_on_times)
}

fn agree_on_children(ours: &Frame, theirs: &Frame, agree: impl Fn(&Frame, &Frame) -> bool) -> bool {
    if !ours.same_kind(theirs) || ours.children().len() != theirs.children().len() {
        return false;
    }
    if ours.children().is_empty() {
        return ours == theirs;
    }
    ours.children().iter().zip(theirs.children()).all(|(one, other)| agree(one, other))
}

fn agree_on_shape(ours: &Frame, theirs: &Frame) -> bool {
    ours.same_kind(theirs)
        && ours.children().len() == theirs.children().len()
        && (!ours.is_error() || ours == theirs)
        && ours.children().iter().zip(theirs.children()).all(|(one, other)| agree_on_shape(one, other))
}

fn sorted(elements: &[Frame], size: usize) -> Vec<&[Frame]> {
    let mut groups: Vec<&[Frame]> = elements.chunks(size).collect();
    groups.sort_unstable();
    groups
}

fn agree_unordered(ours: &Frame, theirs: &Frame, size: usize) -> bool {
    ours.same_kind(theirs)
        && (ours == theirs
            || !ours.children().is_empty()
                && sorted(ours.children(), size) == sorted(theirs.children(), size))
}

/// Lists and maps alike: in RESP2 a map is a list of names and values.
fn agree_on_information(ours: &Frame, theirs: &Frame) -> bool {
    let (one, other) = (ours.children(), theirs.children());
    if !ours.same_kind(theirs) || one.len() != other.len() {
        return false;
    }
    if one.is_empty() {
        return ours == theirs;
    }
    // An entry of a list of pending ones: id, consumer, time, count; or id, time, count.
    let is_entry =
        matches!(one.last(), Some(Frame::Integer(_))) && matches!(one.first(), Some(Frame::Bulk(_)));
    let time_at = if is_entry && matches!(one.len(), 3 | 4) { Some(one.len() - 2) } else { None };
    (0..one.len()).all(|index| {
        let name = index.checked_sub(1).and_then(|before| one[before].text()).unwrap_or_default();
        let is_time =
            time_at == Some(index) || matches!(name, b"idle" | b"inactive" | b"seen-time" | b"active-time");
        // How nodes of a stream's index are counted is each server's own.
        let is_own = matches!(name, b"radix-tree-nodes" | b"radix-tree-keys");
        if is_own {
            agree_on_shape(&one[index], &other[index])
        } else if is_time {
            agree_on_times(&one[index], &other[index])
        } else {
            agree_on_information(&one[index], &other[index])
        }
    })
}

fn agree_on_scan(ours: &Frame, theirs: &Frame) -> bool {
    let ([cursor, elements], [other_cursor, other_elements]) = (ours.children(), theirs.children()) else {
        return ours == theirs;
    };
    let has_ended = |cursor: &Frame| cursor.text() == Some(b"0");
    if has_ended(cursor) && has_ended(other_cursor) {
        agree_unordered(elements, other_elements, 1)
    } else {
        cursor.same_kind(other_cursor) && elements.same_kind(other_elements)
    }
}

/// Whether two replies to a request agree.
pub fn agree(request: &Words, ours: &Frame, theirs: &Frame) -> bool {
    match rule(request) {
        Rule::Exact => ours == theirs,
        Rule::Unordered => agree_unordered(ours, theirs, 1),
        Rule::UnorderedPairs => agree_unordered(ours, theirs, 2),
        Rule::Shape => agree_on_shape(ours, theirs),
        Rule::Scan => agree_on_scan(ours, theirs),
        Rule::Time => agree_on_times(ours, theirs),
        Rule::References => {
            let few = |frame: &Frame| frame.integer().is_some_and(|references| (1..10).contains(&references));
            ours == theirs || few(ours) && few(theirs)
        }
        Rule::Payload => agree_on_payload(ours, theirs),
        Rule::Kind => ours.same_kind(theirs) && (!ours.is_error() || ours == theirs),
        Rule::Information => agree_on_information(ours, theirs),
    }
}

/// What the main client has queued; EXEC's reply has a reply for each.
#[derive(Default)]
pub struct Queue {
    queued: Vec<Words>,
}

impl Queue {
    /// Notes the reply to a request; gives the requests that EXEC has run.
    pub fn note(&mut self, request: &Words, reply: &Frame) -> Vec<Words> {
        if *reply == Frame::Simple(b"QUEUED".to_vec()) {
            self.queued.push(request.clone());
            return Vec::new();
        }
        let name = request[0].to_ascii_lowercase();
        match name.as_slice() {
            b"exec" => std::mem::take(&mut self.queued),
            b"discard" | b"multi" | b"reset" if !reply.is_error() => {
                self.queued.clear();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}

/// Whether replies to a request are compared to the letter.
pub fn is_exact(request: &Words) -> bool {
    rule(request) == Rule::Exact
}

fn agree_on_reply(queue: &mut Queue, request: &Words, ours: &Frame, theirs: &Frame) -> bool {
    let executed = queue.note(request, theirs);
    if !executed.is_empty() && executed.len() == theirs.children().len() {
        return ours.children().len() == executed.len()
            && executed
                .iter()
                .zip(ours.children().iter().zip(theirs.children()))
                .all(|(request, (one, other))| agree(request, one, other));
    }
    agree(request, ours, theirs)
}

/// A side client's frames: requests and replies do not pair, so chance is looked for in all of them.
fn agree_on_aside(step: Option<&Step>, ours: &[Frame], theirs: &[Frame]) -> bool {
    // Patterns that a message matches come in the order of a table.
    let is_pattern = |frames: &[Frame]| frames.iter().any(|frame| frame.holds(b"pmessage"));
    if ours == theirs || is_pattern(ours) && sorted(ours, 1) == sorted(theirs, 1) {
        return true;
    }
    let Some(Step::Aside(_, requests)) = step else { return false };
    let (Some(request), Some(one), Some(other)) = (requests.first(), ours.first(), theirs.first()) else {
        return false;
    };
    // Leaving all channels goes in the order of a table.
    if request.len() == 1 && request[0].to_ascii_lowercase().ends_with(b"unsubscribe") {
        return ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|(one, other)| agree_on_shape(one, other));
    }
    ours.len() == theirs.len() && agree(request, one, other) && ours[1..] == theirs[1..]
}

fn show(frames: &[Frame]) -> String {
    frames.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n      ")
}

fn name_of(session: &Session, said: &Said) -> String {
    match session.steps.get(said.step) {
        Some(Step::Main(request)) => {
            let shown =
                if matches!(request[0].to_ascii_lowercase().as_slice(), b"object" | b"xinfo" | b"xgroup") {
                    2
                } else {
                    1
                };
            let name: Vec<u8> = request.iter().take(shown).cloned().collect::<Vec<_>>().join(&b' ');
            name.to_ascii_uppercase().escape_ascii().to_string()
        }
        Some(Step::Aside(_, requests)) => {
            format!(
                "aside {}",
                requests.first().map_or(String::new(), |words| words[0].escape_ascii().to_string())
            )
        }
        _ => "end".to_owned(),
    }
}

/// The first difference between what two servers said in a session.
pub fn difference(session: &Session, ours: &[Said], theirs: &[Said]) -> Option<Difference> {
    let mut queue = Queue::default();
    for index in 0..ours.len().max(theirs.len()) {
        let (Some(one), Some(other)) = (ours.get(index), theirs.get(index)) else {
            let rest = ours.get(index).or(theirs.get(index))?;
            let side = if ours.len() > theirs.len() { "more" } else { "less" };
            return Some(Difference {
                step: rest.step,
                kind: rest.kind,
                name: name_of(session, rest),
                ours: format!("{side}: {:?} {}", rest.kind, show(&rest.frames)),
                theirs: String::new(),
            });
        };
        let agrees = one.step == other.step
            && one.kind == other.kind
            && match (one.kind, session.steps.get(one.step)) {
                (Kind::Broken, _) => false,
                (Kind::Reply, Some(Step::Main(request))) => {
                    agree_on_reply(&mut queue, request, &one.frames[0], &other.frames[0])
                }
                (Kind::Events, _) => agree_on_events(&one.frames, &other.frames),
                (Kind::Aside, step) => agree_on_aside(step, &one.frames, &other.frames),
                _ => one.frames == other.frames,
            };
        if !agrees {
            return Some(Difference {
                step: one.step,
                kind: one.kind,
                name: name_of(session, one),
                ours: show(&one.frames),
                theirs: show(&other.frames),
            });
        }
    }
    None
}
