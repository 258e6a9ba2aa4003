//! Trying inputs for a while, keeping those that reach something new, and keeping a record of what fails.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::mutation::{Grammar, Mutator};

/// Inputs of each target, unless the environment says otherwise.
const RUNS: u64 = 3000;
/// How long one input may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether it still runs.
const LOOK: Duration = Duration::from_millis(500);
/// Inputs that are kept.
const KEPT: usize = 20_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// The input that is being tried, for whoever finds that it takes too long or ends the process.
struct Current {
    /// Its number, and what it is.
    input: Mutex<(u64, Vec<u8>)>,
    path: PathBuf,
    /// It is written before it is tried, so that it is there when nothing else is.
    is_written: bool,
}

impl Current {
    fn set(&self, input: &[u8]) {
        let mut current = self.input.lock().unwrap();
        current.0 += 1;
        current.1.clear();
        current.1.extend_from_slice(input);
        if self.is_written {
            std::fs::write(&self.path, input).unwrap();
        }
    }

    /// Ends the process when an input takes too long. Looks are counted, so that time in which the process was stopped is none.
    fn watch(self: &Arc<Self>) {
        let current = Arc::downgrade(self);
        std::thread::spawn(move || {
            let (mut last, mut looks) = (0, 0);
            while let Some(current) = current.upgrade() {
                let number = current.input.lock().unwrap().0;
                looks = if number == last { looks + 1 } else { 0 };
                last = number;
                if LOOK * looks > PATIENCE {
                    std::fs::write(&current.path, &current.input.lock().unwrap().1).unwrap();
                    eprintln!("An input takes more than {PATIENCE:?}: {}", current.path.display());
                    std::process::abort();
                }
                drop(current);
                std::thread::sleep(LOOK);
            }
        });
    }
}

/// What has failed once, and what was asked for by name.
fn known_inputs(name: &str) -> Vec<Vec<u8>> {
    if let Some(path) = std::env::var_os("FUZZ_INPUT") {
        return vec![std::fs::read(path).unwrap()];
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found").join(name);
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Tries inputs on a target, which panics when something does not hold.
pub fn fuzz(name: &str, grammar: &Grammar, target: &mut dyn FnMut(&[u8])) {
    let seconds = setting("FUZZ_SECONDS");
    let seed = setting("FUZZ_SEED").unwrap_or(if seconds.is_some() { fastrand::u64(..) } else { 1 });
    let runs = setting("FUZZ_RUNS").unwrap_or(if seconds.is_some() { u64::MAX } else { RUNS });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
    let input = Mutex::new((0, Vec::new()));
    let current = Arc::new(Current { input, path, is_written: seconds.is_some() });
    current.watch();
    let mut attempt = |input: &[u8]| {
        current.set(input);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            std::fs::write(&current.path, input).unwrap();
            eprintln!("seed {seed}: {name} fails with {}", current.path.display());
            resume_unwind(panic);
        }
    };
    let known = known_inputs(name);
    known.iter().for_each(|input| attempt(input));
    if std::env::var_os("FUZZ_INPUT").is_some() {
        return;
    }
    let begun = Instant::now();
    let is_over = || seconds.is_some_and(|seconds| begun.elapsed() >= Duration::from_secs(seconds));
    let mut mutator = Mutator { grammar, random: fastrand::Rng::with_seed(seed) };
    let (mut kept, mut coverage, mut tried) = (known, Coverage::default(), 0);
    while tried < runs && !is_over() {
        let mut input = match mutator.random.choice(&kept) {
            Some(kept) if mutator.random.u32(..4) != 0 => kept.clone(),
            _ => mutator.compose(),
        };
        if mutator.random.u32(..16) != 0 {
            mutator.change(&mut input, &kept);
        }
        attempt(&input);
        tried += 1;
        if coverage.take() && kept.len() < KEPT {
            kept.push(input);
        }
    }
    if seconds.is_some() {
        let seconds = begun.elapsed().as_secs();
        let coverage = match Coverage::is_on() {
            true => format!("{} branches reached, {} inputs kept", coverage.reached, kept.len()),
            false => "branches not counted".to_owned(),
        };
        eprintln!("{name}: {tried} inputs in {seconds} s, seed {seed}, {coverage}");
    }
}
