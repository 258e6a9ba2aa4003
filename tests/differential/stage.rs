//! Plays the steps of a session on one server and notes what it answers.
//!
//! The main client's requests are pipelined. Other clients act in between, each in lock step: what they do has been done,
//! or blocks, before the main client goes on, so the order of everything is the same on every server. A listener hears
//! every keyspace notification.

use std::io;
use std::time::Duration;

use super::frame::Frame;
use super::link::{Link, Words, encode, words};

/// What happens next in a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The main client asks this.
    Main(Words),
    /// Another client asks this, and may block; what it still waits for is ended first.
    Aside(usize, Vec<Words>),
    /// Every other client's wait is ended.
    Gather,
    /// Long enough for what lives a millisecond to be over.
    Pause,
    /// The signature of the data set is taken.
    Digest,
}

/// Clients beside the main one.
pub const ASIDES: usize = 4;
/// Requests of the main client that go out together.
const PIPELINE: usize = 100;

/// Something a server said: at which step, and what.
#[derive(Debug)]
pub struct Said {
    pub step: usize,
    pub kind: Kind,
    pub frames: Vec<Frame>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To the main client's request.
    Reply,
    /// To another client.
    Aside,
    /// Notifications since the last ones.
    Events,
    /// The signature of the data set.
    Digest,
    /// The connection broke.
    Broken,
}

struct Aside {
    link: Link,
    id: Vec<u8>,
    /// The word that ends what it has asked, if that has not come yet.
    awaits: Option<(usize, Vec<u8>)>,
    /// What it got of it so far.
    got: Vec<Frame>,
}

struct Stage {
    main: Link,
    control: Link,
    listener: Link,
    asides: Vec<Aside>,
    said: Vec<Said>,
    /// Steps whose requests are sent together.
    pending: Vec<usize>,
    bytes: Vec<u8>,
    markers: usize,
}

/// Plays a session from the emptied server on: first the settings, on a connection of their own.
pub fn play(port: u16, settings: &[Words], steps: &[Step]) -> Vec<Said> {
    let mut said = Vec::new();
    let mut reached = 0;
    let result = Stage::set(port, settings).and_then(|mut stage| {
        let result = stage.play(steps, &mut reached);
        said = std::mem::take(&mut stage.said);
        result
    });
    if let Err(error) = result {
        let frames = vec![Frame::Error(error.to_string().into_bytes())];
        said.push(Said { step: reached, kind: Kind::Broken, frames });
    }
    said
}

impl Stage {
    fn set(port: u16, settings: &[Words]) -> io::Result<Self> {
        let mut control = Link::open(port)?;
        for setting in settings {
            let reply = control.ask(setting)?;
            assert!(!reply.is_error(), "{reply} to {}", setting.join(&b' ').escape_ascii());
        }
        let mut listener = Link::open(port)?;
        listener.ask(&words("HELLO 3"))?;
        listener.ask(&words("PSUBSCRIBE __key*__:*"))?;
        let mut asides = Vec::new();
        for number in 0..ASIDES {
            let mut link = Link::open(port)?;
            if number % 2 == 1 {
                link.ask(&words("HELLO 3"))?;
            }
            let id = link.ask(&words("CLIENT ID"))?;
            asides.push(Aside {
                link,
                id: id.text().unwrap_or_default().to_vec(),
                awaits: None,
                got: Vec::new(),
            });
        }
        let main = Link::open(port)?;
        Ok(Self {
            main,
            control,
            listener,
            asides,
            said: Vec::new(),
            pending: Vec::new(),
            bytes: Vec::new(),
            markers: 0,
        })
    }

    fn play(&mut self, steps: &[Step], reached: &mut usize) -> io::Result<()> {
        for (index, step) in steps.iter().enumerate() {
            *reached = index;
            match step {
                Step::Main(request) => {
                    encode(request, &mut self.bytes);
                    self.pending.push(index);
                    if self.pending.len() == PIPELINE {
                        self.flush()?;
                    }
                    continue;
                }
                _ => self.flush()?,
            }
            match step {
                Step::Main(_) => {}
                Step::Aside(number, requests) => self.aside(index, *number, requests)?,
                Step::Gather => self.gather(index)?,
                Step::Pause => std::thread::sleep(Duration::from_millis(8)),
                Step::Digest => {
                    let digest = self.control.ask(&words("DEBUG DIGEST"))?;
                    self.said.push(Said { step: index, kind: Kind::Digest, frames: vec![digest] });
                }
            }
        }
        self.flush()?;
        self.gather(steps.len())
    }

    fn marker(&mut self) -> Vec<u8> {
        self.markers += 1;
        format!("marker-{}", self.markers).into_bytes()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.main.send(&self.bytes)?;
        self.bytes.clear();
        for step in std::mem::take(&mut self.pending) {
            let (kind, frame) = match self.main.read() {
                Ok(frame) => (Kind::Reply, frame),
                Err(error) => (Kind::Broken, Frame::Error(error.to_string().into_bytes())),
            };
            self.said.push(Said { step, kind, frames: vec![frame] });
            if kind == Kind::Broken {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        let step = self.said.last().map_or(0, |said| said.step);
        let marker = self.marker();
        encode(&[b"PING".to_vec(), marker.clone()], &mut self.bytes);
        self.listener.send(&self.bytes)?;
        self.bytes.clear();
        let events = self.listener.read_until(&marker)?;
        self.said.push(Said { step, kind: Kind::Events, frames: events });
        Ok(())
    }

    /// Ends what another client waits for, and notes what it got.
    fn finish(&mut self, number: usize) -> io::Result<()> {
        let aside = &mut self.asides[number];
        let Some((step, marker)) = aside.awaits.take() else { return Ok(()) };
        let unblock = [b"CLIENT".to_vec(), b"UNBLOCK".to_vec(), aside.id.clone()];
        let mut frames = std::mem::take(&mut aside.got);
        let unblocked = self.control.ask(&unblock)?;
        frames.extend(aside.link.read_until(&marker)?);
        frames.push(unblocked);
        self.said.push(Said { step, kind: Kind::Aside, frames });
        Ok(())
    }

    fn gather(&mut self, step: usize) -> io::Result<()> {
        for number in 0..ASIDES {
            self.finish(number)?;
            // What other clients have published to it meanwhile.
            self.aside(step, number, &[])?;
        }
        Ok(())
    }

    fn aside(&mut self, step: usize, number: usize, requests: &[Words]) -> io::Result<()> {
        self.finish(number)?;
        let marker = self.marker();
        let mut bytes = Vec::new();
        for request in requests {
            encode(request, &mut bytes);
        }
        encode(&[b"PING".to_vec(), marker.clone()], &mut bytes);
        let aside = &mut self.asides[number];
        aside.link.send(&bytes)?;
        if requests.is_empty() {
            let frames = aside.link.read_until(&marker)?;
            if !frames.is_empty() {
                self.said.push(Said { step, kind: Kind::Aside, frames });
            }
            return Ok(());
        }
        aside.awaits = Some((step, marker));
        self.settle(number)
    }

    /// Waits until another client has its answer or is blocked.
    fn settle(&mut self, number: usize) -> io::Result<()> {
        let aside = &mut self.asides[number];
        let Some((step, marker)) = aside.awaits.clone() else { return Ok(()) };
        loop {
            while aside.link.is_readable()? {
                let frame = aside.link.read()?;
                if frame.holds(&marker) {
                    aside.awaits = None;
                    let frames = std::mem::take(&mut aside.got);
                    self.said.push(Said { step, kind: Kind::Aside, frames });
                    return Ok(());
                }
                aside.got.push(frame);
            }
            let id = String::from_utf8_lossy(&aside.id).into_owned();
            let line = self.control.ask(&words(&format!("CLIENT LIST ID {id}")))?;
            let line = String::from_utf8_lossy(line.text().unwrap_or_default()).into_owned();
            let flags = line.split(" flags=").nth(1).and_then(|rest| rest.split(' ').next());
            if flags.is_some_and(|flags| flags.contains('b')) {
                return Ok(());
            }
        }
    }
}
