//! Where requests go: the configured organisation and nothing else.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::Error;

/// Everything but RFC 3986's unreserved characters is escaped inside a segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Longest segment, in bytes; names in Azure DevOps have at most 64 characters.
const MAX_SEGMENT_BYTES: usize = 300;

/// The hosts of one organisation (FACTS §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// Git, work items, builds.
    Main,
    /// Identities.
    Identities,
    /// Code search.
    Search,
    /// The audit log.
    Audit,
}

/// The base URLs of one organisation, without a slash at the end.
#[derive(Clone, Debug)]
pub(super) struct Address {
    main: Url,
    identities: Url,
    search: Url,
    audit: Url,
}

impl Address {
    /// The addresses that belong to `organization`. Azure DevOps Services has hosts of their own
    /// for identities and for search; a Server collection and any other base URL serve everything
    /// themselves.
    pub(super) fn new(organization: &Url) -> Self {
        let mut main = organization.clone();
        main.set_query(None);
        main.set_fragment(None);
        let path = main.path().trim_end_matches('/').to_owned();
        main.set_path(&path);
        Self {
            identities: beside(&main, "vssps"),
            search: beside(&main, "almsearch"),
            audit: beside(&main, "auditservice"),
            main,
        }
    }

    /// The organisation's host.
    pub(super) fn host(&self) -> &str {
        self.main.host_str().unwrap_or_default()
    }

    /// The URL of `template` with each `{…}` replaced by one of `segments`, in order, escaped.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a segment that is empty, `.`, `..`, overlong or has control characters.
    pub(super) fn url(&self, host: Host, template: &str, segments: &[&str]) -> Result<Url, Error> {
        let base = match host {
            Host::Main => &self.main,
            Host::Identities => &self.identities,
            Host::Search => &self.search,
            Host::Audit => &self.audit,
        };
        let mut path = base.path().trim_end_matches('/').to_owned();
        let mut rest = segments.iter();
        for part in template.split('/') {
            path.push('/');
            let Some(open) = part.find('{') else {
                path.push_str(part);
                continue;
            };
            let segment = rest.next().ok_or_else(|| Error::invalid(format!("{template} lacks a part")))?;
            path.push_str(&part[..open]);
            path.push_str(&escaped(segment)?);
        }
        let mut url = base.clone();
        url.set_path(&path);
        // Escaping makes this impossible; a bearer is worth a second look.
        if rest.next().is_some() || url.path() != path {
            return Err(Error::invalid("the address would leave the organisation".into()));
        }
        Ok(url)
    }

    /// The page of `template` in the organisation's web face, for people.
    pub(super) fn web(&self, template: &str, segments: &[&str], query: &[(&str, &str)]) -> String {
        let Ok(mut url) = self.url(Host::Main, template, segments) else { return self.main.to_string() };
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url.to_string()
    }

    /// The page of a work item.
    pub(super) fn work_item(&self, project: &str, id: u32) -> String {
        self.web("{project}/_workitems/edit/{id}", &[project, &id.to_string()], &[])
    }

    /// The page of a pull request.
    pub(super) fn pull_request(&self, project: &str, repository: &str, id: u32) -> String {
        let template = "{project}/_git/{repository}/pullrequest/{id}";
        self.web(template, &[project, repository, &id.to_string()], &[])
    }

    /// The page of a commit.
    pub(super) fn commit(&self, project: &str, repository: &str, commit: &str) -> String {
        self.web("{project}/_git/{repository}/commit/{commit}", &[project, repository, commit], &[])
    }

    /// The page of a branch.
    pub(super) fn branch(&self, project: &str, repository: &str, branch: &str) -> String {
        let version = format!("GB{branch}");
        self.web("{project}/_git/{repository}", &[project, repository], &[("version", &version)])
    }

    /// The page of a build.
    pub(super) fn build(&self, project: &str, id: u32) -> String {
        self.web("{project}/_build/results", &[project], &[("buildId", &id.to_string())])
    }

    /// The API URL of a work item, as relations name it.
    pub(super) fn work_item_resource(&self, id: u32) -> String {
        self.web("_apis/wit/workItems/{id}", &[&id.to_string()], &[])
    }
}

/// The host `service` of the same organisation, where the organisation is in Services.
fn beside(main: &Url, service: &str) -> Url {
    let mut url = main.clone();
    let host = match main.host_str() {
        Some("dev.azure.com") => Some(format!("{service}.dev.azure.com")),
        Some(host) => {
            host.strip_suffix(".visualstudio.com").map(|name| format!("{name}.{service}.visualstudio.com"))
        }
        None => None,
    };
    if let Some(host) = host {
        // Both are hosts that parse; on the impossible failure the main host is kept.
        let _ = url.set_host(Some(&host));
    }
    url
}

fn escaped(segment: &str) -> Result<String, Error> {
    // The URL standard resolves dot segments even when they are escaped.
    let is_bad = segment.is_empty()
        || segment.len() > MAX_SEGMENT_BYTES
        || matches!(segment, "." | "..")
        || segment.chars().any(char::is_control);
    if is_bad {
        let shown = crate::http::plain(segment, 60);
        return Err(Error::invalid(format!("'{shown}' cannot be a name in Azure DevOps")));
    }
    Ok(utf8_percent_encode(segment, SEGMENT).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(url: &str) -> Address {
        Address::new(&url.parse().unwrap())
    }

    const TEMPLATE: &str = "{project}/_apis/git/repositories/{repository}/refs";

    fn url(project: &str, repository: &str) -> Result<String, Error> {
        let url = address("http://localhost:1/tfs/DefaultCollection").url(
            Host::Main,
            TEMPLATE,
            &[project, repository],
        )?;
        Ok(url.to_string())
    }

    #[test]
    fn names_become_single_segments_whatever_they_hold() {
        assert_eq!(
            url("My Project", "a/../b?c#d%2e").unwrap(),
            "http://localhost:1/tfs/DefaultCollection/My%20Project/_apis/git/repositories/a%2F..%2Fb%3Fc%23d%252e/refs"
        );
        assert!(
            url("Ünï", "@evil.example:80\\x")
                .unwrap()
                .starts_with("http://localhost:1/tfs/DefaultCollection/%C3")
        );
        for bad in ["", ".", "..", "a\nb", "\0"] {
            assert!(matches!(url(bad, "r"), Err(Error::Invalid(_))), "{bad:?}");
            assert!(matches!(url("p", bad), Err(Error::Invalid(_))), "{bad:?}");
        }
        let missing = address("http://localhost:1/o").url(Host::Main, TEMPLATE, &["p"]);
        assert!(matches!(missing, Err(Error::Invalid(_))));
        let create = address("http://localhost:1/o").url(
            Host::Main,
            "{p}/_apis/wit/workitems/${type}",
            &["p", "User Story"],
        );
        assert_eq!(create.unwrap().as_str(), "http://localhost:1/o/p/_apis/wit/workitems/$User%20Story");
    }

    #[test]
    fn identities_and_search_live_on_hosts_of_their_own_only_in_the_service() {
        let at = |organization: &str, host, template| {
            address(organization).url(host, template, &[]).unwrap().to_string()
        };
        let of = |organization: &str| at(organization, Host::Identities, "_apis/identities");
        let search = |organization: &str| at(organization, Host::Search, "_apis/search");
        assert_eq!(
            search("https://dev.azure.com/contoso"),
            "https://almsearch.dev.azure.com/contoso/_apis/search"
        );
        assert_eq!(
            search("https://contoso.visualstudio.com"),
            "https://contoso.almsearch.visualstudio.com/_apis/search"
        );
        assert_eq!(search("https://tfs.contoso.com/tfs/C"), "https://tfs.contoso.com/tfs/C/_apis/search");
        assert_eq!(
            of("https://dev.azure.com/contoso"),
            "https://vssps.dev.azure.com/contoso/_apis/identities"
        );
        assert_eq!(
            of("https://contoso.visualstudio.com"),
            "https://contoso.vssps.visualstudio.com/_apis/identities"
        );
        assert_eq!(of("https://tfs.contoso.com/tfs/C"), "https://tfs.contoso.com/tfs/C/_apis/identities");
        assert_eq!(of("http://127.0.0.1:4193/contoso/"), "http://127.0.0.1:4193/contoso/_apis/identities");
    }

    #[test]
    fn web_pages_are_those_that_people_use() {
        let address = address("https://dev.azure.com/contoso");
        assert_eq!(
            address.work_item("Fabrikam", 7),
            "https://dev.azure.com/contoso/Fabrikam/_workitems/edit/7"
        );
        assert_eq!(
            address.pull_request("Fabrikam", "web-shop", 12),
            "https://dev.azure.com/contoso/Fabrikam/_git/web-shop/pullrequest/12"
        );
        assert_eq!(
            address.branch("Fabrikam", "web-shop", "agent/7-x"),
            "https://dev.azure.com/contoso/Fabrikam/_git/web-shop?version=GBagent%2F7-x"
        );
    }

    proptest! {
        #[test]
        fn no_name_leaves_the_organisation(project in "\\PC{1,40}", repository in "\\PC{1,40}") {
            if let Ok(url) = url(&project, &repository) {
                prop_assert!(url.starts_with("http://localhost:1/tfs/DefaultCollection/"));
                prop_assert_eq!(url.matches('/').count(), 10, "{}", url);
                prop_assert!(!url.contains('?') && !url.contains('#'));
            }
        }
    }
}
