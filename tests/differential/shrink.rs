//! Makes a session that tells two servers apart as short as it gets: parts are left out as long as they still differ in
//! the same way.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::agreement::Difference;
use super::quoted;
use super::session::Session;
use super::stage::Step;

/// How long a difference is worked on.
const PATIENCE: Duration = Duration::from_secs(20);

/// The shortest session found, as text, with what both servers said.
pub fn shrunk(
    mut session: Session,
    difference: &Difference,
    mut compare: impl FnMut(&Session) -> Option<Difference>,
) -> String {
    let begun = Instant::now();
    let mut last = difference.clone();
    session.steps.truncate(last.step + 1);
    let mut size = session.steps.len().div_ceil(2);
    while size > 0 && begun.elapsed() < PATIENCE {
        let mut has_shrunk = false;
        let mut place = 0;
        while place < session.steps.len() && begun.elapsed() < PATIENCE {
            let mut steps = session.steps.clone();
            steps.drain(place..(place + size).min(steps.len()));
            let shorter = Session { settings: session.settings.clone(), steps };
            match compare(&shorter) {
                Some(found) if found.is_like(difference) => {
                    last = found;
                    session = shorter;
                    has_shrunk = true;
                }
                _ => place += size,
            }
        }
        if size == 1 && !has_shrunk {
            break;
        }
        size = if has_shrunk && size == 1 { 1 } else { size / 2 };
    }
    shrink_words(&mut session, difference, &mut last, begun, &mut compare);
    text(&session, &last)
}

/// Leaves out words of long requests.
fn shrink_words(
    session: &mut Session,
    difference: &Difference,
    last: &mut Difference,
    begun: Instant,
    compare: &mut impl FnMut(&Session) -> Option<Difference>,
) {
    for index in 0..session.steps.len() {
        let Step::Main(request) = &session.steps[index] else { continue };
        if request.len() < 5 {
            continue;
        }
        for size in [64, 16, 4, 2, 1] {
            let mut place = 2;
            while begun.elapsed() < PATIENCE {
                let Step::Main(request) = &session.steps[index] else { break };
                if place + size > request.len() {
                    break;
                }
                let mut request = request.clone();
                request.drain(place..place + size);
                let mut steps = session.steps.clone();
                steps[index] = Step::Main(request);
                let shorter = Session { settings: session.settings.clone(), steps };
                match compare(&shorter) {
                    Some(found) if found.is_like(difference) => {
                        *last = found;
                        *session = shorter;
                    }
                    _ => place += size,
                }
            }
        }
    }
}

fn text(session: &Session, difference: &Difference) -> String {
    let mut text = String::new();
    for setting in &session.settings {
        let is_default = super::session::is_default(setting);
        if !is_default {
            writeln!(text, "  # {}", quoted(setting)).unwrap();
        }
    }
    for step in &session.steps {
        match step {
            Step::Main(request) => writeln!(text, "> {}", quoted(request)).unwrap(),
            Step::Aside(number, requests) => {
                let requests: Vec<String> = requests.iter().map(quoted).collect();
                writeln!(text, "  # client {number}: {}", requests.join("; ")).unwrap();
            }
            other => writeln!(text, "  # {other:?}").unwrap(),
        }
    }
    let Difference { step, kind, ours, theirs, .. } = difference;
    writeln!(text, "{kind:?} at step {step}:\nours: {ours}\nreal: {theirs}").unwrap();
    text
}
