//! `catalog`, version 2: cleans a record of the movie catalogue. In: the record as it was published.
//! Out: the same movie under tidy names, without what is missing, and with what was mended named in
//! `mended`.
//!
//! Written after a look at the dead letters of version 1. A title that is a number becomes text (the
//! movie *is* called 1776); a movie without a title is called `Untitled #{id}`; a year to come is one
//! of the last century (two digits were read as 20xx); a date that is none is left out, and kept as
//! it was in `released_as_published`. So a redrive delivers them all.

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
    /// Drop movies without a title instead of naming them.
    #[serde(default)]
    filter_untitled: bool,
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
        let mut mended: Vec<Value> = Vec::new();
        let id = movie.get("id").cloned().unwrap_or_default();
        tidy.insert("id".into(), id.clone());
        match title(movie.get("Title")) {
            Title::Good(text) => tidy.insert("title".into(), text.into()),
            Title::Missing if self.0.filter_untitled => return Ok(Outcome::Filter),
            Title::Missing => {
                mended.push("title".into());
                tidy.insert("title".into(), format!("Untitled #{id}").into())
            }
            Title::Mended(text) => {
                mended.push("title".into());
                tidy.insert("title".into(), text.into())
            }
        };
        self.release(movie.get("Release Date").unwrap_or(&Value::Null), &mut tidy, &mut mended);
        for (published, name) in NAMES {
            if let Some(value) = movie.get(published).filter(|value| !value.is_null()) {
                tidy.insert(name.into(), value.clone());
            }
        }
        if !mended.is_empty() {
            tidy.insert("mended".into(), mended.into());
        }
        Ok(record.output(serde_json::to_vec(&tidy)?).into())
    }
}

enum Title {
    Good(String),
    Mended(String),
    Missing,
}

fn title(published: Option<&Value>) -> Title {
    match published {
        Some(Value::String(text)) if !text.trim().is_empty() => Title::Good(text.trim().to_owned()),
        Some(Value::Null | Value::String(_)) | None => Title::Missing,
        Some(other) => Title::Mended(other.to_string()),
    }
}

impl Catalog {
    /// Writes `released` as `1998-06-12` from `Jun 12 1998`, or what can be saved of it.
    fn release(&self, published: &Value, tidy: &mut Map<String, Value>, mended: &mut Vec<Value>) {
        let parsed = published.as_str().and_then(date);
        let century = |year: u16| year.checked_sub(100).filter(|_| year > self.0.latest_year);
        match parsed.map(|(year, month, day)| (century(year), year, month, day)) {
            Some((None, year, month, day)) => {
                tidy.insert("released".into(), format!("{year:04}-{month:02}-{day:02}").into());
            }
            Some((Some(year), _, month, day)) => {
                mended.push("released".into());
                tidy.insert("released".into(), format!("{year:04}-{month:02}-{day:02}").into());
            }
            None => {
                mended.push("released".into());
                tidy.insert("released_as_published".into(), published.clone());
            }
        }
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
    use walhost_sdk::{json, testing};

    fn cleaned(settings: Value, movie: Value) -> Outcome {
        testing::transform::<Catalog>(settings).unwrap().apply(&testing::json(movie)).unwrap()
    }

    fn tidy(movie: Value) -> Value {
        let Outcome::Emit(outputs) = cleaned(json!({}), movie) else { panic!("it is delivered") };
        serde_json::from_slice(&outputs[0].value).unwrap()
    }

    #[test]
    fn a_good_movie_is_the_same_as_with_version_1() {
        let movie =
            json!({"id": 1, "Title": " Alien ", "US Gross": 5, "Director": null, "Release Date": "May 25 1979"});
        assert_eq!(tidy(movie), json!({"id": 1, "title": "Alien", "released": "1979-05-25", "us_gross": 5}));
    }

    #[test]
    fn a_title_that_is_a_number_becomes_text() {
        let movie = json!({"id": 2, "Title": 1776, "Release Date": "Nov 09 1972"});
        assert_eq!(tidy(movie), json!({"id": 2, "title": "1776", "released": "1972-11-09", "mended": ["title"]}));
    }

    #[test]
    fn a_movie_without_a_title_is_named_or_filtered() {
        let movie = || json!({"id": 3, "Title": null, "Release Date": "Nov 03 2006"});
        assert_eq!(tidy(movie())["title"], "Untitled #3");
        assert_eq!(cleaned(json!({"filter_untitled": true}), movie()), Outcome::Filter);
    }

    #[test]
    fn a_year_to_come_is_one_of_the_last_century() {
        let wings = tidy(json!({"id": 4, "Title": "Wings", "Release Date": "Aug 12 2027"}));
        assert_eq!((&wings["released"], &wings["mended"]), (&json!("1927-08-12"), &json!(["released"])));
    }

    #[test]
    fn a_date_that_is_none_is_kept_as_it_was() {
        let wings = tidy(json!({"id": 4, "Title": "Wings", "Release Date": "some day"}));
        assert_eq!((&wings["released"], &wings["released_as_published"]), (&Value::Null, &json!("some day")));
        assert_eq!(tidy(json!({"id": 4, "Title": "Wings"}))["released_as_published"], Value::Null);
    }

    #[test]
    fn of_the_real_catalogue_all_are_delivered_and_32_mended() {
        let catalog: Catalog = testing::transform(json!({})).unwrap();
        let movies = testing::ndjson(include_str!("../../../tests/data/movies.ndjson"));
        let outcomes = catalog.apply_batch(&movies);
        let emitted: Vec<Value> = outcomes
            .iter()
            .filter_map(|outcome| if let Outcome::Emit(outputs) = outcome { Some(&outputs[0].value) } else { None })
            .map(|value| serde_json::from_slice(value).unwrap())
            .collect();
        assert_eq!(emitted.len(), 3201);
        assert_eq!(emitted.iter().filter(|movie| movie["mended"].is_array()).count(), 32);
        assert!(emitted.iter().all(|movie| movie["released"].as_str().is_some_and(|date| date < "2012")));
    }
}
