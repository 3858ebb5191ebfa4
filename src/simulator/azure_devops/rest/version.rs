//! Judging the api-version that a request asks for (fact sheet, section 2).

use axum::http::{HeaderMap, Method};

use super::Query;
use super::routes::Location;
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::Outcome;

/// The newest version that this server knows.
pub const LATEST: (u32, u32) = (7, 2);

/// A version as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Major and minor.
    pub number: (u32, u32),
    /// `-preview`, and its number when given.
    pub preview: Option<Option<u32>>,
}

impl Version {
    /// Reads `{major}.{minor}[-preview[.{N}]]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, preview) = match text.split_once('-') {
            None => (text, None),
            Some((number, rest)) if rest.len() >= 7 && rest[..7].eq_ignore_ascii_case("preview") => {
                let tail = &rest[7..];
                let n = match tail.strip_prefix('.') {
                    Some(n) => Some(digits(n)?),
                    None if tail.is_empty() => None,
                    None => return None,
                };
                (number, Some(n))
            }
            Some(_) => return None,
        };
        let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
        Some(Self { number: (digits(major)?, digits(minor)?), preview })
    }
}

fn digits(text: &str) -> Option<u32> {
    let fine = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    if fine { text.parse().ok() } else { None }
}

/// The text in the query or in the Accept header.
fn requested(query: &Query, headers: &HeaderMap) -> Option<String> {
    if let Some(text) = query.get("api-version") {
        return Some(text.trim().to_owned());
    }
    let accept = headers.get("accept")?.to_str().ok()?;
    accept.split([';', ',']).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("api-version").then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The version that is served, as Content-Type names it; empty when none was asked for.
///
/// # Errors
/// 400 when it is malformed, missing on a write, out of range, or needs `-preview`.
pub fn judge(query: &Query, headers: &HeaderMap, location: &Location, method: &Method) -> Outcome<String> {
    let Some(text) = requested(query, headers) else {
        if method == Method::GET || method == Method::HEAD {
            return Ok(String::new());
        }
        return Err(Refusal::new(
            400,
            "VssVersionNotSpecifiedException",
            format!(
                "No api-version was supplied for the \"{method}\" request. The version must be supplied either as part \
                 of the Accept header (e.g. \"application/json; api-version=1.0\") or as a query parameter (e.g. \
                 \"?api-version=1.0\")."
            ),
        ));
    };
    let Some(version) = Version::parse(&text) else {
        return Err(Refusal::new(
            400,
            "VssInvalidApiResourceVersionException",
            format!(
                "Invalid api version string: \"{text}\". Api version string must be in the format: \
                 {{Major}}.{{Minor}}[-preview[.{{ResourceVersion}}]]."
            ),
        ));
    };
    check(version, &text, location)?;
    Ok(text)
}

fn check(version: Version, text: &str, location: &Location) -> Outcome<()> {
    let (min, max, released) = location.versions();
    if version.number > max {
        return Err(Refusal::new(
            400,
            "VssVersionOutOfRangeException",
            format!(
                "The requested REST API version of {}.{} is out of range for this server. The latest REST API version \
                 this server supports is {}.{}.",
                version.number.0, version.number.1, LATEST.0, LATEST.1
            ),
        ));
    }
    if version.number < min {
        return Err(Refusal::new(
            400,
            "VssVersionNotSupportedException",
            format!(
                "The requested version \"{text}\" of the resource is not supported; the oldest is {}.{}.",
                min.0, min.1
            ),
        ));
    }
    if version.preview.is_none() && version.number > released {
        return Err(Refusal::new(
            400,
            "VssInvalidPreviewVersionException",
            format!(
                "The requested version \"{text}\" of the resource is under preview. The -preview flag must be supplied \
                 in the api-version for such requests. For example: \"{}.{}-preview\"",
                version.number.0, version.number.1
            ),
        ));
    }
    let newest = location.resource_version;
    if version.preview.flatten().is_some_and(|n| n > newest) {
        return Err(Refusal::new(
            400,
            "VssVersionOutOfRangeException",
            format!("The requested resource version of \"{text}\" is out of range; the latest is {newest}."),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(released: &'static str, resource_version: u32) -> Location {
        Location {
            id: "",
            area: "a",
            resource: "r",
            template: "",
            resource_version,
            min: "1.0",
            max: "7.2",
            released,
        }
    }

    fn status(text: &str, released: &'static str) -> Option<&'static str> {
        let query = Query::parse(&format!("api-version={text}"));
        judge(&query, &HeaderMap::new(), &location(released, 3), &Method::GET).err().map(|r| r.type_key)
    }

    #[test]
    fn versions_are_judged_as_the_service_judges_them() {
        for fine in ["7.1", "7.0", "5.0", "7.1-preview", "7.1-preview.3", "7.2-preview.1", "1.0"] {
            assert_eq!(status(fine, "7.1"), None, "{fine}");
        }
        assert_eq!(status("7.2", "7.1"), Some("VssInvalidPreviewVersionException"));
        assert_eq!(status("7.1", "0.0"), Some("VssInvalidPreviewVersionException"));
        assert_eq!(status("7.1-preview", "0.0"), None);
        assert_eq!(status("99.0", "7.1"), Some("VssVersionOutOfRangeException"));
        assert_eq!(status("7.1-preview.9", "7.1"), Some("VssVersionOutOfRangeException"));
        assert_eq!(status("0.9", "7.1"), Some("VssVersionNotSupportedException"));
        for bad in ["x", "7.1-beta", "7..1", "7.1-preview.", "7.1-previewx", "-1.0", "99999.1"] {
            assert_eq!(status(bad, "7.1"), Some("VssInvalidApiResourceVersionException"), "{bad}");
        }
    }

    #[test]
    fn the_accept_header_counts_and_a_write_needs_a_version() {
        let mut headers = HeaderMap::new();
        headers.insert("accept", "application/json; api-version=7.0".parse().unwrap());
        let served = judge(&Query::default(), &headers, &location("7.1", 1), &Method::POST).unwrap();
        assert_eq!(served, "7.0");
        let none =
            judge(&Query::default(), &HeaderMap::new(), &location("7.1", 1), &Method::PATCH).unwrap_err();
        assert_eq!(none.type_key, "VssVersionNotSpecifiedException");
        assert!(judge(&Query::default(), &HeaderMap::new(), &location("7.1", 1), &Method::GET).is_ok());
    }
}
