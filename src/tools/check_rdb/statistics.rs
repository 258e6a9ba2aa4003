//! What `check-rdb --stats` counts: keys, elements and their sizes, by database and type.
//!
//! The figures are those of Valkey's program, down to which values its histograms tell apart (three digits) and that it
//! counts a sorted set in a listpack by the elements of the listpack, which are members and scores.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::report::Format;
use crate::algorithms::numbers::format_f64_by_layout;
use crate::types::{Encoding, Value};

/// Databases from this number on have no figures: a damaged file may name any number of them.
const DATABASES_MAX: u64 = 1 << 16;
/// Values below this are told apart each.
const EXACT_BELOW: u64 = 2048;
/// Counts of elements from this on are in no histogram.
const COUNTS_BELOW: u64 = 1 << 18;
/// Sizes of elements from this on are in no histogram.
const SIZES_BELOW: u64 = 1 << 21;

/// The columns.
const TYPES: [&str; 7] = ["string", "list", "set", "zset", "hash", "module", "stream"];
const MODULE: usize = 5;

const FIELDS: [&str; 18] = [
    "type.name",
    "keys.total",
    "expire_keys.total",
    "already_expired.total",
    "keys.size",
    "keys.value_size",
    "elements.total",
    "elements.size",
    "elements.num.max",
    "elements.num.avg",
    "elements.num.p99",
    "elements.num.p90",
    "elements.num.p50",
    "elements.size.max",
    "elements.size.avg",
    "elements.size.p99",
    "elements.size.p90",
    "elements.size.p50",
];

/// How often which values occurred, values being taken together that agree in their first three digits.
#[derive(Debug, Default)]
struct Histogram {
    /// By the greatest value of each group.
    counts: BTreeMap<u64, u64>,
    total: u64,
}

impl Histogram {
    fn record(&mut self, value: u64, below: u64) {
        if value < below {
            let shift = if value < EXACT_BELOW { 0 } else { value.ilog2() - EXACT_BELOW.ilog2() + 1 };
            *self.counts.entry(value | ((1 << shift) - 1)).or_default() += 1;
            self.total += 1;
        }
    }

    fn percentile(&self, percent: f64) -> u64 {
        let wanted = ((percent / 100.0 * self.total as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        let reached = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= wanted
        });
        reached.map_or(0, |(value, _)| *value)
    }
}

/// The figures of a type in a database.
#[derive(Debug, Default)]
struct Figures {
    keys: u64,
    expires: u64,
    already_expired: u64,
    key_bytes: u64,
    element_bytes: u64,
    elements: u64,
    most_elements: u64,
    largest_element: u64,
    counts: Histogram,
    sizes: Histogram,
}

impl Figures {
    fn size(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.element_bytes += bytes;
        self.largest_element = self.largest_element.max(bytes);
        self.sizes.record(bytes, SIZES_BELOW);
    }

    fn count(&mut self, elements: usize) {
        let elements = elements as u64;
        self.elements += elements;
        self.most_elements = self.most_elements.max(elements);
        self.counts.record(elements, COUNTS_BELOW);
    }

    fn field(&self, field: usize, type_name: &str) -> String {
        let average = |sum: u64, count: u64| {
            format!("{:.2}", if count > 0 { f64::from(sum as f32 / count as f32) } else { 0.0 })
        };
        let percentile =
            |histogram: &Histogram, percent| format!("{:.2}", histogram.percentile(percent) as f32);
        match field {
            0 => type_name.to_owned(),
            1 => self.keys.to_string(),
            2 => self.expires.to_string(),
            3 => self.already_expired.to_string(),
            4 => self.key_bytes.to_string(),
            5 | 7 => self.element_bytes.to_string(),
            6 => self.elements.to_string(),
            8 => self.most_elements.to_string(),
            9 => average(self.elements, self.keys),
            10 => percentile(&self.counts, 99.0),
            11 => percentile(&self.counts, 90.0),
            12 => percentile(&self.counts, 50.0),
            13 => self.largest_element.to_string(),
            14 => average(self.element_bytes, self.elements),
            15 => percentile(&self.sizes, 99.0),
            16 => percentile(&self.sizes, 90.0),
            _ => percentile(&self.sizes, 50.0),
        }
    }
}

/// All figures.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    /// By database and column.
    figures: BTreeMap<(u64, usize), Figures>,
    /// The greatest number of a database.
    last: u64,
    /// Keys of databases that have no figures.
    left_out: u64,
}

impl Statistics {
    /// A database begins.
    pub(super) fn select(&mut self, database: u64) {
        if database < DATABASES_MAX {
            self.last = self.last.max(database);
        }
    }

    /// Adds an entry; `value` is `None` for a module's. `expiry`: whether it has expired, if it expires at all.
    pub(super) fn add(&mut self, database: u64, key: &[u8], value: Option<&Value>, expiry: Option<bool>) {
        if database >= DATABASES_MAX {
            self.left_out += 1;
            return;
        }
        let column = match value {
            Some(Value::String(_)) => 0,
            Some(Value::List(_)) => 1,
            Some(Value::Set(_)) => 2,
            Some(Value::SortedSet(_)) => 3,
            Some(Value::Hash(_)) => 4,
            Some(Value::Stream(_)) => 6,
            None => MODULE,
        };
        let figures = self.figures.entry((database, column)).or_default();
        figures.keys += 1;
        figures.key_bytes += key.len() as u64;
        figures.expires += u64::from(expiry.is_some());
        figures.already_expired += u64::from(expiry == Some(true));
        match value {
            Some(value) => measure(figures, value),
            None => figures.count(1),
        }
    }

    /// The figures as text.
    pub(super) fn render(&self, format: Format) -> String {
        let (mut text, none) = (String::new(), Figures::default());
        for database in 0..=self.last {
            for (index, field) in FIELDS.iter().enumerate() {
                let name = format!("db.{database}.{field}");
                let values = TYPES.iter().enumerate().map(|(column, type_name)| {
                    let figures = self.figures.get(&(database, column)).unwrap_or(&none);
                    (type_name, figures.field(index, type_name))
                });
                // Writing to a text cannot fail.
                let _ = match format {
                    Format::Info if index == 0 => Ok(()),
                    Format::Info => {
                        let mut values = values;
                        values.try_for_each(|(type_name, value)| {
                            writeln!(text, "[info] db.{database}.type.{type_name}.{field}:{value}")
                        })
                    }
                    Format::Table => {
                        let columns: String = values.map(|(_, value)| format!("\t{value:<5}")).collect();
                        writeln!(text, "{name:<30}{columns}")
                    }
                    Format::Csv => {
                        let columns: String = values.map(|(_, value)| format!(",{value}")).collect();
                        writeln!(text, "{name}{columns}")
                    }
                };
            }
        }
        if self.left_out > 0 {
            let _ = writeln!(
                text,
                "[info] {} keys are in databases from {DATABASES_MAX} on and not in these figures",
                self.left_out
            );
        }
        text
    }
}

/// Counts the elements of a value and their sizes.
fn measure(figures: &mut Figures, value: &Value) {
    match value {
        Value::String(bytes) => {
            figures.count(1);
            figures.size(bytes.len());
        }
        Value::List(list) => {
            list.for_each(|element| figures.size(element.len()));
            figures.count(list.len());
        }
        Value::Set(set) => {
            set.for_each(|member| figures.size(member.len()));
            figures.count(set.len());
        }
        Value::SortedSet(set) => {
            set.for_each(|member, score| {
                figures.size(member.len() + format_f64_by_layout(score).as_bytes().len())
            });
            let is_flat = set.encoding() == Encoding::SortedSetListpack;
            figures.count(if is_flat { 2 * set.len() } else { set.len() });
        }
        Value::Hash(hash) => {
            hash.for_each(|field, value, _| figures.size(field.len() + value.len()));
            figures.count(hash.len());
        }
        Value::Stream(stream) => {
            stream.for_each(|_, fields| {
                let (mut first, mut second) = (itoa::Buffer::new(), itoa::Buffer::new());
                for (field, value) in fields {
                    figures.size(field.as_bytes(&mut first).len() + value.as_bytes(&mut second).len());
                }
            });
            figures.count(stream.len());
        }
    }
}
