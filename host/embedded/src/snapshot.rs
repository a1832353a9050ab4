//! A snapshot: all facts of all namespaces, but not their records, as of a log sequence number.
//!
//! In: views. Out: bytes, and back. Where frames are is not in it: their heads tell that at every open.
//!
//! A view is written as sections, each with its name, its version and its length. A section takes what it
//! needs under the view's lock, which must be cheap whatever the namespace holds, and is encoded without it.

mod about;
mod dead;
mod extents;
mod held;
mod history;
mod keys;
mod moved;
mod suspects;
mod targets;

use crate::codec::{Reader, Writer, corrupt};
use crate::view::View;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use walhost_core::{Error, Kind, Result};

/// First byte of a snapshot of this layout.
const LAYOUT: u8 = 2;

/// What a section has taken from a view, to be encoded when the lock is free again.
pub(crate) type Taken = Box<dyn FnOnce(&mut Writer) + Send>;

/// One kind of facts of a view.
pub(crate) struct Section {
    /// In the file; never given a second meaning.
    pub name: &'static str,
    /// Of its content. A reader refuses the ones it does not know.
    pub version: u8,
    /// Takes what is to be written, under the view's lock; none: there is nothing, and the section is left out.
    pub take: fn(&View) -> Option<Taken>,
    /// Puts the content of a section of this version back. What is left out leaves the view as it was made.
    pub get: fn(&mut Reader<'_>, &mut View) -> Result<()>,
}

/// All of them, in the order in which they are written and read.
static SECTIONS: [Section; 9] = [
    about::SECTION,
    targets::SECTION,
    extents::SECTION,
    moved::SECTION,
    held::SECTION,
    dead::SECTION,
    keys::SECTION,
    history::SECTION,
    suspects::SECTION,
];

/// The first part: the layout, and the next number of a view.
pub(crate) fn put_head(next_view: u32) -> Bytes {
    let mut writer = Writer::default();
    writer.u8(LAYOUT);
    writer.u32(next_view);
    writer.finish()
}

/// What was taken of one view, as of one moment.
pub(crate) struct Still(Vec<(&'static Section, Taken)>);

/// Takes a view as it is now. To be called under its lock.
pub(crate) fn take(view: &View) -> Still {
    Still(SECTIONS.iter().filter_map(|section| Some((section, (section.take)(view)?))).collect())
}

impl Still {
    /// One part of the snapshot: needs no lock.
    pub(crate) fn put(self) -> Bytes {
        let mut writer = Writer::default();
        writer.u64(self.0.len() as u64);
        for (section, taken) in self.0 {
            let mut content = Writer::default();
            taken(&mut content);
            writer.text(section.name);
            writer.u8(section.version);
            writer.bytes(&content.0);
        }
        writer.finish()
    }
}

/// Reads a whole snapshot: the next number of a view, and the views.
pub(crate) fn get(bytes: &[u8]) -> Result<(u32, BTreeMap<u32, View>)> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != LAYOUT {
        return Err(corrupt("layout of a snapshot"));
    }
    let next_view = reader.u32()?;
    let mut views = BTreeMap::new();
    while !reader.is_empty() {
        let view = get_view(&mut reader)?;
        views.insert(view.number, view);
    }
    Ok((next_view, views))
}

fn get_view(reader: &mut Reader<'_>) -> Result<View> {
    let mut view = View::new(0, None, 0);
    view.replaying = true;
    let mut seen = BTreeSet::new();
    for _ in 0..reader.count()? {
        let (name, version) = (reader.text()?, reader.u8()?);
        let mut content = Reader::new(reader.bytes()?);
        let section = SECTIONS.iter().find(|section| section.name == name && section.version == version);
        let section = section.ok_or_else(|| unknown(name, version))?;
        if !seen.insert(section.name) {
            return Err(corrupt("a section of a snapshot that comes twice"));
        }
        (section.get)(&mut content, &mut view)?;
        if !content.is_empty() {
            return Err(corrupt("length of a section of a snapshot"));
        }
    }
    if !seen.contains(about::SECTION.name) {
        return Err(corrupt("a view of a snapshot that nothing is said about"));
    }
    Ok(view)
}

/// A newer host may have written it: what it says must not be left out.
fn unknown(name: &str, version: u8) -> Error {
    Error::new(
        Kind::Corrupt,
        "embedded.decode",
        format!(
            "the snapshot has a section `{}` of version {version}, which this version of walhost cannot read",
            name.escape_debug()
        ),
    )
    .with("section", name.escape_debug())
    .with("version", version)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::frame::fact::Fact;
    use walhost_core::NamespaceName;

    fn view() -> View {
        let mut view = View::new(7, Some(NamespaceName::new("catalog").unwrap()), 9);
        view.apply(&Fact::Subscribed { target: 0, name: "cache".into(), from: 0 });
        (view.next_dead, view.last_sequence) = (4, 99);
        view
    }

    fn file(sections: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let mut writer = Writer(put_head(8).to_vec());
        writer.u64(sections.len() as u64);
        for (name, version, content) in sections {
            writer.text(name);
            writer.u8(*version);
            writer.bytes(content);
        }
        writer.0
    }

    #[test]
    fn a_view_reads_back_and_sections_without_content_are_left_out() {
        let part = take(&view()).put();
        assert_eq!(part[0], 2, "only what it is and its targets");
        let bytes = [put_head(8), part.clone(), take(&View::new(3, None, 5)).put()].concat();
        let (next_view, views) = get(&bytes).unwrap();
        assert_eq!((next_view, views.len(), views[&3].incarnation), (8, 2, 5));
        let read = &views[&7];
        assert_eq!((read.next_dead, read.last_sequence, read.targets.len()), (4, 99, 1));
        assert_eq!(take(read).put(), part);
        let torn = |length: usize| get(&bytes[..length]).map_or(0, |(_, views)| views.len());
        assert!((0..bytes.len()).all(|length| torn(length) < 2));
    }

    #[test]
    fn a_section_that_is_not_known_is_refused_by_its_name() {
        let mut about = Writer::default();
        (about::SECTION.take)(&view()).unwrap()(&mut about);
        let known = (about::SECTION.name, about::SECTION.version, &about.0[..]);
        assert_eq!(get(&file(&[known])).unwrap().1[&7].incarnation, 9);
        let error = get(&file(&[known, ("wishes", 1, b"x")])).unwrap_err();
        assert!(error.to_string().contains("`wishes`"), "{error}");
        assert!(get(&file(&[(known.0, 99, known.2)])).is_err_and(|error| error.to_string().contains("version 99")));
        assert!(get(&file(&[known, known])).is_err() && get(&file(&[])).is_err());
        let longer = [known.2, b"x"].concat();
        assert!(get(&file(&[(known.0, known.1, &longer)])).is_err());
    }
}
