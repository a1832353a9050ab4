//! `catalog`, version 1: cleans a record of the movie catalogue. In: the record as it was published.
//! Out: the same movie under tidy names, without what is missing.
//!
//! This version trusts its input: a title that is a number (`title-not-text`), no title
//! (`title-missing`), a date that is none or lies in a year to come (`date-odd`) are rejected.
//! Version 2 is what was written after a look at the dead letters.

use serde::Deserialize;
use walhost_sdk::serde_json::Map;
use walhost_sdk::{Outcome, Reason, Record, Transform, Value, serde_json};

/// Members of the published record and what they are called afterwards. Title and date are read apart.
const NAMES: [(&str, &str); 14] = [
    ("US Gross", "us_gross"),
    ("Worldwide Gross", "worldwide_gross"),
    ("US DVD Sales", "us_dvd_sales"),
    ("Production Budget", "budget"),
    ("MPAA Rating", "mpaa_rating"),
    ("Running Time min", "running_time_min"),
    ("Distributor", "distributor"),
    ("Source", "source"),
    ("Major Genre", "genre"),
    ("Creative Type", "creative_type"),
    ("Director", "director"),
    ("Rotten Tomatoes Rating", "rotten_tomatoes"),
    ("IMDB Rating", "imdb_rating"),
    ("IMDB Votes", "imdb_votes"),
];

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The last year in which a movie of this catalogue can have been released.
    #[serde(default = "latest_year")]
    latest_year: u16,
}

/// The catalogue was closed in 2011.
fn latest_year() -> u16 {
    2011
}

struct Catalog(Settings);

impl Transform for Catalog {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        Ok(Self(settings))
    }

    fn apply(&self, record: &Record) -> Result<Outcome, Reason> {
        if record.is_tombstone() {
            return Ok(Outcome::Pass);
        }
        let movie: Map<String, Value> = record.json()?;
        let mut tidy = Map::new();
        tidy.insert("id".into(), movie.get("id").cloned().unwrap_or_default());
        tidy.insert("title".into(), title(movie.get("Title"))?.into());
        tidy.insert("released".into(), self.released(movie.get("Release Date"))?.into());
        for (published, name) in NAMES {
            if let Some(value) = movie.get(published).filter(|value| !value.is_null()) {
                tidy.insert(name.into(), value.clone());
            }
        }
        Ok(record.output(serde_json::to_vec(&tidy)?).into())
    }
}

fn title(published: Option<&Value>) -> Result<&str, Reason> {
    match published {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.trim()),
        Some(Value::Null | Value::String(_)) | None => Err(Reason::new("title-missing", "the movie has no title")),
        Some(other) => Err(Reason::new("title-not-text", format!("the title is {other}"))),
    }
}

impl Catalog {
    /// `1998-06-12` from `Jun 12 1998`.
    fn released(&self, published: Option<&Value>) -> Result<String, Reason> {
        let published = published.unwrap_or(&Value::Null);
        let odd = |why: &str| Reason::new("date-odd", format!("the release date is {published}: {why}"));
        let text = published.as_str().ok_or_else(|| odd("no text"))?;
        let (year, month, day) = date(text).ok_or_else(|| odd("not like `Jun 12 1998`"))?;
        if year > self.0.latest_year {
            return Err(odd("in a year to come"));
        }
        Ok(format!("{year:04}-{month:02}-{day:02}"))
    }
}

/// Year, month and day of `Jun 12 1998`, if there is such a day.
fn date(text: &str) -> Option<(u16, u8, u8)> {
    let mut words = text.split_whitespace();
    let (month, day, year) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let month = (1..).zip(MONTHS).find_map(|(number, name)| (name == month).then_some(number))?;
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        2 => 28 + u8::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (words.next().is_none() && (1..=days).contains(&day)).then_some((year, month, day))
}

walhost_sdk::export_transform!(Catalog);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use walhost_sdk::{json, testing};

    fn cleaned(movie: Value) -> Result<Value, Reason> {
        let catalog: Catalog = testing::transform(json!({})).unwrap();
        match catalog.apply(&testing::json(movie))? {
            Outcome::Emit(outputs) => Ok(serde_json::from_slice(&outputs[0].value).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_movie_has_tidy_names_and_nothing_that_is_missing() {
        let movie =
            json!({"id": 1, "Title": " Alien ", "US Gross": 5, "Director": null, "Release Date": "May 25 1979"});
        assert_eq!(cleaned(movie), Ok(json!({"id": 1, "title": "Alien", "released": "1979-05-25", "us_gross": 5})));
    }

    #[test]
    fn dirt_is_rejected_by_kind() {
        let code = |movie| cleaned(movie).unwrap_err().code().to_owned();
        assert_eq!(code(json!({"Title": 1776, "Release Date": "Nov 09 1972"})), "title-not-text");
        assert_eq!(code(json!({"Title": null, "Release Date": "Nov 03 2006"})), "title-missing");
        assert_eq!(code(json!({"Title": "Wings", "Release Date": "Aug 12 2027"})), "date-odd");
        assert_eq!(code(json!({"Title": "Wings", "Release Date": "some day"})), "date-odd");
        assert_eq!(code(json!({"Title": "Wings"})), "date-odd");
        assert_eq!(code(json!([])), "bad-shape");
    }

    #[test]
    fn only_days_that_exist_are_dates() {
        assert_eq!(date("Feb 29 2000"), Some((2000, 2, 29)));
        assert_eq!(date("Feb 29 1900"), None);
        assert_eq!(date("Apr 31 2000"), None);
        assert_eq!(date("Jan 00 2000"), None);
        assert_eq!(date("Jan 01 2000 x"), None);
    }

    #[test]
    fn of_the_real_catalogue_32_of_3201_are_rejected() {
        let catalog: Catalog = testing::transform(json!({})).unwrap();
        let movies = testing::ndjson(include_str!("../../../tests/data/movies.ndjson"));
        let mut counts = BTreeMap::<String, usize>::new();
        for outcome in catalog.apply_batch(&movies) {
            let code = if let Outcome::Reject(reason) = outcome { reason.code().to_owned() } else { "good".into() };
            *counts.entry(code).or_default() += 1;
        }
        let expected = [("date-odd", 22), ("good", 3169), ("title-missing", 1), ("title-not-text", 9)];
        assert_eq!(counts, expected.map(|(code, count)| (code.to_owned(), count)).into());
    }
}
