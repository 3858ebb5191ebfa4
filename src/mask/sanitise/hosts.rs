//! Which hosts text may point to, and which hosts it does point to, as a browser reads it.

use std::collections::{BTreeSet, HashSet};

use url::{Host, Url};

/// Most hosts on the list.
pub const MAX_HOSTS: usize = 1000;
/// Longest address, in bytes, that is read in running text.
const MAX_ADDRESS_BYTES: usize = 4096;

/// A name that cannot be on the list.
#[derive(Debug, thiserror::Error)]
pub enum BadHost {
    /// Not a host name.
    #[error("{0} is no host name; write for example dev.azure.com or *.visualstudio.com")]
    NoHost(String),
    /// The list is too long.
    #[error("more than {MAX_HOSTS} hosts are listed; list fewer")]
    TooMany,
}

/// The hosts that outgoing text may point to.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    exact: HashSet<String>,
    below: Vec<String>,
}

impl Hosts {
    /// The list: `dev.azure.com`, `localhost:8080` (any port of the host), `*.visualstudio.com` (every host below, not itself).
    ///
    /// # Errors
    /// When an entry is no host name, or there are more than [`MAX_HOSTS`].
    pub fn new<'h>(hosts: impl IntoIterator<Item = &'h str>) -> Result<Self, BadHost> {
        let mut list = Self::default();
        for host in hosts {
            let (below, name) = host.strip_prefix("*.").map_or((false, host), |rest| (true, rest));
            let parsed = Url::parse(&format!("https://{name}/")).ok();
            let clean = !name.contains(['/', '@', '?', '#', '*', '\\']) && !name.is_empty();
            let name = parsed.as_ref().and_then(Url::host_str).filter(|_| clean);
            let name = name.ok_or_else(|| BadHost::NoHost(host.to_owned()))?.to_owned();
            if below {
                list.below.push(format!(".{name}"));
            } else {
                list.exact.insert(name);
            }
            if list.exact.len() + list.below.len() > MAX_HOSTS {
                return Err(BadHost::TooMany);
            }
        }
        Ok(list)
    }

    /// Whether text may point to `host`, a host in ASCII as [`Url`] gives it.
    pub fn allow(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        self.exact.contains(host)
            || self.below.iter().any(|end| host.len() > end.len() && host.ends_with(end.as_str()))
    }
}

/// Where an address leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Into the site that shows it.
    Relative,
    /// To a host that is allowed, or to a mailbox.
    Allowed,
    /// To another host, or to one behind the name of another.
    Unknown(String),
    /// It runs something.
    Dangerous,
}

/// Where `address` leads, however it is disguised.
pub(super) fn target(address: &str, allowed: &Hosts) -> Target {
    let absolute = Url::parse(address);
    if let Ok(url) = &absolute
        && !matches!(url.scheme(), "http" | "https" | "mailto")
    {
        return Target::Dangerous;
    }
    // Without a scheme, and with one but no slashes, the page that shows it decides.
    let bases = ["https://base.invalid/a/", "http://base.invalid/a/"];
    let read = bases
        .iter()
        .filter_map(|base| Url::parse(base).ok()?.join(address).ok())
        .chain(absolute.clone().ok());
    let mut worst = Target::Relative;
    for url in read {
        if url.scheme() == "mailto" {
            worst = worst.max(Target::Allowed);
            continue;
        }
        let Some(host) = url.host() else { return Target::Dangerous };
        let name = match &host {
            Host::Domain("base.invalid") => continue,
            Host::Domain(name) => (*name).to_owned(),
            other => other.to_string(),
        };
        // It says one host and means another: a person looks at it, also where that one is listed.
        let is_disguised = !url.username().is_empty() || url.password().is_some();
        worst = worst.max(if allowed.allow(&name) && !is_disguised {
            Target::Allowed
        } else {
            Target::Unknown(name)
        });
    }
    if absolute.is_err() && worst == Target::Relative && address.contains("://") {
        return Target::Dangerous;
    }
    worst
}

impl Target {
    fn max(self, other: Self) -> Self {
        let rank = |target: &Self| match target {
            Self::Relative => 0,
            Self::Allowed => 1,
            Self::Unknown(_) => 2,
            Self::Dangerous => 3,
        };
        if rank(&other) > rank(&self) { other } else { self }
    }
}

/// Addresses in running text: `scheme://…`, `www.…`, `//…` behind a quote or a bracket.
/// Each is (start, end).
pub(super) fn addresses(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let stop = |c: char| c.is_whitespace() || "<>\"'`|^{}".contains(c) || c == ')' || c == ']';
    let end_of = |start: usize| {
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.find(stop).unwrap_or(rest.len()).min(MAX_ADDRESS_BYTES);
        let mut end = start + length;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let address = text.get(start..end).unwrap_or_default();
        start + address.trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '_']).len()
    };
    for (at, _) in text.match_indices("//") {
        let before = text.get(..at).unwrap_or_default();
        let letters = before.strip_suffix(':').map_or(0, |head| {
            head.bytes()
                .rev()
                .take(24)
                .take_while(|b| b.is_ascii_alphanumeric() || b"+.-".contains(b))
                .count()
        });
        if letters > 0 {
            found.push((at - 1 - letters, end_of(at - 1 - letters)));
        } else if before.ends_with(['"', '\'', '(', '=', '`', ' ']) && host_follows(text, at + 2) {
            found.push((at, end_of(at)));
        }
    }
    let lower = text.to_ascii_lowercase();
    for (at, _) in lower.match_indices("www.") {
        let free =
            text.get(..at).is_none_or(|t| !t.ends_with(|c: char| c.is_alphanumeric() || "/.-@".contains(c)));
        if free {
            found.push((at, end_of(at)));
        }
    }
    found.sort_unstable();
    found
}

/// Whether a host with a dot stands at `at`, so that `// a comment` is no address.
fn host_follows(text: &str, at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    let host = rest.split(['/', '"', '\'', ')', '?', '#', ' ', '\n', '\t', '>']).next().unwrap_or_default();
    host.contains('.') && !host.starts_with('.') && !host.ends_with('.')
}

/// Where an address of running text leads.
pub(super) fn bare_target(address: &str, allowed: &Hosts) -> Target {
    let www = address.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("www."));
    if www { target(&format!("http://{address}"), allowed) } else { target(address, allowed) }
}

/// The hosts in any text that are not allowed.
pub(super) fn unknown_in(text: &str, allowed: &Hosts) -> Vec<String> {
    let mut hosts = BTreeSet::new();
    for (start, end) in addresses(text) {
        let address = text.get(start..end).unwrap_or_default();
        match bare_target(address, allowed) {
            Target::Unknown(host) => {
                hosts.insert(host);
            }
            Target::Dangerous => {
                let named = Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned));
                hosts.extend(named);
            }
            Target::Relative | Target::Allowed => {}
        }
    }
    hosts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Hosts {
        Hosts::new(["dev.azure.com", "*.visualstudio.com", "bücher.example"]).unwrap()
    }

    #[test]
    fn the_host_that_a_browser_would_ask_is_the_one_that_counts() {
        let hosts = list();
        let unknown = |host: &str| Target::Unknown(host.to_owned());
        for (address, expected) in [
            ("https://dev.azure.com/contoso", Target::Allowed),
            ("https://DEV.azure.com.", Target::Allowed),
            ("https://contoso.visualstudio.com/x", Target::Allowed),
            ("https://xn--bcher-kva.example/", Target::Allowed),
            ("mailto:alice@contoso.example", Target::Allowed),
            ("docs/readme.md", Target::Relative),
            ("#anchor", Target::Relative),
            ("https://dev.azure.com@evil.example", unknown("evil.example")),
            ("https://evil.example@dev.azure.com", unknown("dev.azure.com")),
            ("https://evil.example/?d=1", unknown("evil.example")),
            ("//evil.example", unknown("evil.example")),
            ("/\\evil.example", unknown("evil.example")),
            ("https:evil.example", unknown("evil.example")),
            ("https:\\\\evil.example", unknown("evil.example")),
            ("ht\ntps://evil.example", unknown("evil.example")),
            ("https://dev.azure.com.evil.example", unknown("dev.azure.com.evil.example")),
            ("https://dev。azure。com。evil.example", unknown("dev.azure.com.evil.example")),
            ("https://аzure.example", unknown("xn--zure-43d.example")),
            ("http://2130706433/", unknown("127.0.0.1")),
            ("javascript:alert(1)", Target::Dangerous),
            ("JAVASCRIPT:alert(1)", Target::Dangerous),
            (" java\tscript:alert(1)", Target::Dangerous),
            ("data:text/html,x", Target::Dangerous),
            ("vscode://x", Target::Dangerous),
        ] {
            assert_eq!(target(address, &hosts), expected, "{address}");
        }
    }

    #[test]
    fn addresses_in_files_are_found() {
        let text = "@import url(//evil.example/a.css); // see www.other.example, or <a href='//x.example/'>";
        assert_eq!(unknown_in(text, &list()), ["evil.example", "www.other.example", "x.example"]);
        assert!(unknown_in("let x = 1; // a.b comment\nhttps://dev.azure.com/x", &list()).is_empty());
    }

    #[test]
    fn a_list_takes_host_names_only() {
        assert!(Hosts::new(["https://x.example/"]).is_err());
        assert!(Hosts::new([""]).is_err());
        assert!(Hosts::new(["*.x.example"]).unwrap().allow("a.x.example"));
        assert!(!Hosts::new(["*.x.example"]).unwrap().allow("ax.example"));
    }
}
