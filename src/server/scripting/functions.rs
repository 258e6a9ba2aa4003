//! Libraries of functions: loaded, replaced, deleted, dumped and restored.
//!
//! A library's functions are found by name in any case of letters; no two libraries have one of the same name.

use std::collections::BTreeMap;
use std::rc::Rc;

use hashbrown::HashMap;

use super::discarded::Discarded;
use super::flags::{ScriptFlags, end_of_line};
use crate::algorithms::hash::FastHasher;
use crate::config::VALKEY_VERSION;
use crate::config::split_arguments;
use crate::keyspace::Keyspace;
use crate::memory::{MemoryUsage, rc_bytes_usage, vec_usage};
use crate::resp::CommandError;
use crate::scripting::host::{CommandRequest, Host, Tick};
use crate::scripting::library::{self, FunctionTables, Registration, Versions};
use crate::scripting::lua::vm::Vm;
use crate::server::{REDIS_VERSION, Server};
use crate::sys::clock;

/// How long the code of a library may run while it is loaded, in milliseconds (Valkey: `LOAD_TIMEOUT_MS`).
pub const LOAD_MS: u64 = 500;

/// A function.
#[derive(Debug)]
pub struct FunctionInfo {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is for.
    pub description: Option<Vec<u8>>,
    /// What it says of itself.
    pub flags: ScriptFlags,
    pub(super) place: usize,
}

/// A library.
#[derive(Debug)]
pub struct Library {
    /// Its source, the first line included.
    pub code: Rc<[u8]>,
    /// Its functions, in the order of their registration.
    pub functions: Vec<FunctionInfo>,
}

/// What becomes of the libraries that are there when others are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestorePolicy {
    /// They stay; the same name twice is an error.
    Append,
    /// Those of the same name go.
    Replace,
    /// All go.
    Flush,
}

/// All libraries.
#[derive(Debug, Default)]
pub struct Functions {
    /// The interpreter; taken out while it runs.
    pub(super) vm: Option<Box<Vm>>,
    tables: Option<FunctionTables>,
    libraries: BTreeMap<Vec<u8>, Library>,
    /// The library of each function, by its name in lower case.
    names: HashMap<Vec<u8>, Vec<u8>, FastHasher>,
    /// Bytes of both, the table of names not included.
    libraries_bytes: usize,
    /// They have the functions that were withdrawn as unsafe.
    pub(super) insecure: bool,
    /// Libraries are kept and never run: no function of theirs is known.
    sources_only: bool,
}

fn error(text: impl AsRef<[u8]>) -> CommandError {
    CommandError::Script([b"ERR ", text.as_ref()].concat().into())
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Bytes of a library and of its place among the others.
fn bytes_of_library(name: &Vec<u8>, library: &Library) -> usize {
    let of_function = |function: &FunctionInfo| {
        vec_usage(&function.name) + function.description.as_ref().map_or(0, vec_usage)
    };
    size_of::<(Vec<u8>, Library)>()
        + vec_usage(name)
        + rc_bytes_usage(&library.code)
        + vec_usage(&library.functions)
        + library.functions.iter().map(of_function).sum::<usize>()
}

/// The library's name, and where its code begins: at the end of the first line.
fn parse_header(source: &[u8]) -> Result<(Vec<u8>, usize), CommandError> {
    if !source.starts_with(b"#!") {
        return Err(error("Missing library metadata"));
    }
    let end = end_of_line(source).ok_or_else(|| error("Invalid library metadata"))?;
    let words = split_arguments(&source[..end]).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| error("Invalid library metadata"))?;
    let mut words = words.iter().map(Vec::as_slice);
    let engine = words.next().and_then(|word| word.get(2..)).unwrap_or_default();
    let mut name = None;
    for word in words {
        let value = word.split_at_checked(5).filter(|(key, _)| key.eq_ignore_ascii_case(b"name="));
        match value {
            Some(_) if name.is_some() => {
                return Err(error("Invalid metadata value, name argument was given multiple times"));
            }
            Some((_, value)) => name = Some(value),
            None => return Err(error([b"Invalid metadata value given: ", word].concat())),
        }
    }
    let name = name.ok_or_else(|| error("Library name was not given"))?;
    if !is_name(name) {
        return Err(error(
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ));
    }
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(error([b"Engine '", engine, b"' not found"].concat()));
    }
    Ok((name.to_vec(), end))
}

/// A host for code that only registers functions.
struct Loader {
    /// Microseconds of the monotonic clock; none for who is obeyed.
    deadline_us: Option<u64>,
    request: CommandRequest,
}

impl Host for Loader {
    fn tick(&mut self) -> Tick {
        match self.deadline_us {
            Some(deadline_us) if clock::monotonic_us() > deadline_us => Tick::Kill,
            _ => Tick::Continue(10_000),
        }
    }

    fn request(&mut self) -> &mut CommandRequest {
        &mut self.request
    }

    // The code has no function that calls commands.
    fn run(&mut self) {}

    fn reply(&self) -> &[u8] {
        b"-ERR\r\n"
    }

    fn set_resp3(&mut self, _: bool) {}

    fn log(&mut self, level: u8, message: &[u8]) {
        super::host::write_log(level, message);
    }

    fn may_run(&mut self) -> Option<bool> {
        None
    }

    fn set_replication(&mut self, _: u8) {}
}

impl Functions {
    /// The libraries, by name.
    pub fn libraries(&self) -> impl ExactSizeIterator<Item = (&[u8], &Library)> {
        self.libraries.iter().map(|(name, library)| (name.as_slice(), library))
    }

    /// The sources of all libraries.
    #[must_use]
    pub fn sources(&self) -> Vec<Rc<[u8]>> {
        self.libraries.values().map(|library| Rc::clone(&library.code)).collect()
    }

    /// How many functions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// A function.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&FunctionInfo> {
        let key = name.to_ascii_lowercase();
        let library = self.libraries.get(self.names.get(&key)?)?;
        library.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))
    }

    fn prepare(&mut self) {
        if self.vm.is_none() {
            let versions = Versions { redis: REDIS_VERSION, valkey: VALKEY_VERSION, name: "valkey" };
            let mut vm = Box::new(Vm::new());
            self.tables = Some(library::open_for_functions(&mut vm, versions, self.insecure));
            self.vm = Some(vm);
        }
    }

    /// Runs the code of a library and checks what it has registered.
    fn compile(
        &mut self,
        source: &[u8],
        starts: usize,
        timeout_ms: Option<u64>,
    ) -> Result<Library, CommandError> {
        self.prepare();
        let (Some(vm), Some(tables)) = (&mut self.vm, self.tables) else { return Err(CommandError::Syntax) };
        let deadline_us = timeout_ms.map(|ms| clock::monotonic_us() + ms * 1000);
        let mut host = Loader { deadline_us, request: CommandRequest::default() };
        // Sources end at a NUL, as C's strings do.
        let code = source.get(starts..).unwrap_or_default();
        let end = code.iter().position(|byte| *byte == 0).unwrap_or(code.len());
        let registered = library::load_library(vm, tables, &code[..end], &mut host).map_err(error)?;
        let wrong = registered.iter().enumerate().find_map(|(index, function)| {
            if !is_name(&function.name) {
                return Some(
                    "Function names can only contain letters, numbers, or underscores(_) and must be at least one character long",
                );
            }
            let is_known = registered[..index].iter().any(|other| other.name == function.name);
            is_known.then_some("Function already exists in the library")
        });
        let wrong = wrong.or_else(|| registered.is_empty().then_some("No functions registered"));
        if let Some(wrong) = wrong {
            for function in &registered {
                vm.release(function.place);
            }
            return Err(error(wrong));
        }
        let info = |Registration { name, description, flags, place }| FunctionInfo {
            name,
            description,
            flags: ScriptFlags::of_function(flags),
            place,
        };
        Ok(Library { code: source.into(), functions: registered.into_iter().map(info).collect() })
    }

    /// Loads a library; gives its name.
    ///
    /// # Errors
    /// What is wrong with its source, or that a name is taken.
    pub fn load(
        &mut self,
        source: &[u8],
        replaces: bool,
        timeout_ms: Option<u64>,
    ) -> Result<Vec<u8>, CommandError> {
        let (name, starts) = parse_header(source)?;
        let name = name.as_slice();
        if self.libraries.contains_key(name) && !replaces {
            return Err(error([b"Library '", name, b"' already exists"].concat()));
        }
        let library = if self.sources_only {
            Library { code: source.into(), functions: Vec::new() }
        } else {
            self.compile(source, starts, timeout_ms)?
        };
        let taken = library.functions.iter().find(|function| {
            let owner = self.names.get(&function.name.to_ascii_lowercase());
            owner.is_some_and(|owner| owner != name)
        });
        if let Some(taken) = taken {
            let text = [b"Function ", taken.name.as_slice(), b" already exists"].concat();
            self.release(&library);
            return Err(error(text));
        }
        self.delete(name);
        self.link(name.to_vec(), library);
        Ok(name.to_vec())
    }

    fn link(&mut self, name: Vec<u8>, library: Library) {
        for function in &library.functions {
            let (key, owner) = (function.name.to_ascii_lowercase(), name.clone());
            let bytes = vec_usage(&key) + vec_usage(&owner);
            // Names that differ in case are one.
            if self.names.insert(key, owner).is_none() {
                self.libraries_bytes += bytes;
            }
        }
        self.libraries_bytes += bytes_of_library(&name, &library);
        self.libraries.insert(name, library);
    }

    fn release(&mut self, library: &Library) {
        if let Some(vm) = &mut self.vm {
            for function in &library.functions {
                vm.release(function.place);
            }
        }
    }

    /// Deletes a library; false if there is none of that name.
    pub fn delete(&mut self, name: &[u8]) -> bool {
        let Some((name, library)) = self.libraries.remove_entry(name) else { return false };
        let mut bytes = bytes_of_library(&name, &library);
        for function in &library.functions {
            if let Some((key, owner)) = self.names.remove_entry(&function.name.to_ascii_lowercase()) {
                bytes += vec_usage(&key) + vec_usage(&owner);
            }
        }
        self.libraries_bytes = self.libraries_bytes.saturating_sub(bytes);
        self.release(&library);
        true
    }

    fn none_yet(&self) -> Self {
        Self { insecure: self.insecure, sources_only: self.sources_only, ..Self::default() }
    }

    /// Deletes all libraries. Their interpreter is handed over, to be freed elsewhere.
    #[must_use]
    pub fn flush(&mut self) -> Discarded {
        let empty = self.none_yet();
        let vm = std::mem::replace(self, empty).vm;
        Discarded::new(vm, HashMap::default(), 0)
    }

    /// Keeps the sources of libraries from here on, and nothing else of them.
    pub(super) fn run_no_more(&mut self) {
        self.sources_only = true;
        self.vm = None;
        self.tables = None;
        self.names = HashMap::default();
        for library in self.libraries.values_mut() {
            library.functions = Vec::new();
        }
        self.libraries_bytes =
            self.libraries.iter().map(|(name, library)| bytes_of_library(name, library)).sum();
    }

    /// Loads sources that were dumped; either all of them or none.
    ///
    /// # Errors
    /// Those of loading, and a name that is taken.
    pub fn restore(&mut self, sources: &[Vec<u8>], policy: RestorePolicy) -> Result<(), CommandError> {
        let mut restored = self.none_yet();
        for source in sources {
            restored.load(source, false, None)?;
        }
        if policy == RestorePolicy::Flush {
            *self = restored;
            return Ok(());
        }
        for (name, library) in restored.libraries() {
            let replaced = self.libraries.contains_key(name);
            if replaced && policy == RestorePolicy::Append {
                return Err(error([b"Library ", name, b" already exists"].concat()));
            }
            for function in &library.functions {
                let owner = self.names.get(&function.name.to_ascii_lowercase());
                if owner.is_some_and(|owner| !restored.libraries.contains_key(owner)) {
                    return Err(error([b"Function ", function.name.as_slice(), b" already exists"].concat()));
                }
            }
        }
        for source in sources {
            self.load(source, true, None)?;
        }
        Ok(())
    }

    /// Loads the libraries of a snapshot, beside those that are there; later ones replace earlier ones.
    fn read(&mut self, sources: &[Rc<[u8]>]) {
        for source in sources {
            if let Err(error) = self.load(source, true, None) {
                let text = error.text();
                tracing::warn!(
                    "Failed loading a function library of the data: {}",
                    String::from_utf8_lossy(&text)
                );
            }
        }
    }

    /// Bytes of the interpreter.
    #[must_use]
    pub fn vm_usage(&self) -> usize {
        self.vm.as_ref().map_or(0, |vm| vm.memory_usage())
    }

    /// Bytes of the libraries and of what finds their functions.
    #[must_use]
    pub fn libraries_usage(&self) -> usize {
        self.libraries_bytes + self.names.allocation_size()
    }
}

impl Server {
    /// Loads the function libraries that have come with the data.
    #[inline]
    pub fn read_libraries(&mut self, keyspace: &mut Keyspace) {
        if let Some(sources) = keyspace.unread_libraries() {
            drop(self.scripting.functions.flush());
            self.scripting.functions.read(&sources);
            keyspace.set_libraries(self.scripting.functions.sources());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ONE: &[u8] = b"#!lua name=one\nredis.register_function('f', function(keys, args) return 1 end)";

    fn text(result: Result<Vec<u8>, CommandError>) -> String {
        String::from_utf8_lossy(&result.unwrap_err().text()).into_owned()
    }

    #[test]
    fn libraries_are_loaded_replaced_and_deleted() {
        let mut functions = Functions::default();
        assert_eq!(functions.load(ONE, false, None).unwrap(), b"one");
        assert!(functions.find(b"F").is_some());
        assert_eq!(text(functions.load(ONE, false, None)), "ERR Library 'one' already exists");
        functions.load(ONE, true, None).unwrap();
        let other = b"#!lua name=two\nserver.register_function{function_name='f', callback=function() end}";
        assert_eq!(text(functions.load(other, false, None)), "ERR Function f already exists");
        assert!(functions.delete(b"one"));
        assert!(functions.find(b"f").is_none());
        functions.load(other, false, None).unwrap();
        let sources = vec![ONE.to_vec()];
        assert!(functions.restore(&sources, RestorePolicy::Append).is_err());
        functions.restore(&sources, RestorePolicy::Flush).unwrap();
        assert_eq!(functions.libraries().next().unwrap().0, b"one");
    }

    #[test]
    fn what_libraries_weigh_is_counted_as_they_come_and_go() {
        let walked = |functions: &Functions| {
            let names = functions.names.iter().map(|(key, owner)| vec_usage(key) + vec_usage(owner));
            let libraries = functions.libraries.iter().map(|(name, library)| bytes_of_library(name, library));
            names.sum::<usize>() + libraries.sum::<usize>() + functions.names.allocation_size()
        };
        let mut functions = Functions::default();
        let many = b"#!lua name=many\nlocal function add(name) redis.register_function{function_name=name, \
            callback=function() end, description='of ' .. name} end\nadd('a') add('bb') add('A') add('much_longer')";
        for source in [ONE, many, ONE] {
            functions.load(source, true, None).unwrap();
            assert_eq!(functions.libraries_usage(), walked(&functions));
        }
        functions.restore(&[many.to_vec()], RestorePolicy::Replace).unwrap();
        assert_eq!(functions.libraries_usage(), walked(&functions));
        functions.run_no_more();
        assert_eq!(functions.libraries_usage(), walked(&functions));
        functions.load(b"#!lua name=three\nx", false, None).unwrap();
        assert!(functions.delete(b"many"));
        assert_eq!(functions.libraries_usage(), walked(&functions));
        drop(functions.flush());
        assert_eq!(functions.libraries_usage(), 0);
    }

    #[test]
    fn libraries_that_may_not_run_are_kept() {
        let mut functions = Functions::default();
        functions.load(ONE, false, None).unwrap();
        functions.run_no_more();
        assert!(functions.find(b"f").is_none());
        assert_eq!(functions.sources(), [ONE.into()]);
        // Code that would fail if it ran is kept as it is.
        let other = b"#!lua name=two\nerror('ran')";
        functions.load(other, false, None).unwrap();
        functions.restore(&[ONE.to_vec()], RestorePolicy::Replace).unwrap();
        assert_eq!((functions.libraries().len(), functions.count(), functions.vm_usage()), (2, 0, 0));
    }

    #[test]
    fn what_is_wrong_with_a_library_is_said() {
        let mut functions = Functions::default();
        for (source, expected) in [
            ("return 1", "ERR Missing library metadata"),
            ("#!lua", "ERR Invalid library metadata"),
            ("#!lua\n", "ERR Library name was not given"),
            ("#!lua name=a name=b\n", "ERR Invalid metadata value, name argument was given multiple times"),
            ("#!lua name=a x=b\n", "ERR Invalid metadata value given: x=b"),
            ("#!bad name=a\n", "ERR Engine 'bad' not found"),
            ("#!lua name=a\nreturn 1", "ERR No functions registered"),
            ("#!lua name=a\nx x", "ERR Error compiling function: user_function:2: '=' expected near 'x'"),
            (
                "#!lua name=a\nreturn math",
                "ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'math'",
            ),
            (
                "#!lua name=a\nredis.register_function('f')",
                "ERR Error registering functions: ERR calling server.register_function with a single argument is only applicable to Lua table (representing named arguments).",
            ),
        ] {
            assert_eq!(text(functions.load(source.as_bytes(), false, None)), expected, "{source}");
        }
        let endless = b"#!lua name=a\nwhile 1 do end";
        assert_eq!(
            text(functions.load(endless, false, Some(20))),
            "ERR Error registering functions: ERR FUNCTION LOAD timeout"
        );
    }
}
