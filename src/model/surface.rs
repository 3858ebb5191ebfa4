//! The address of the deployment, in the form in which async-openai asks for it.

use async_openai::config::Config;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderMap;
use secrecy::SecretString;

use crate::config;

/// What a path segment must not hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where the deployment is: the v1 surface, or a dated one.
#[derive(Clone, Debug)]
pub(super) struct Surface {
    base: String,
    api_version: Option<String>,
    /// The library wants to see a key; ours goes into each attempt instead.
    no_key: SecretString,
}

impl Surface {
    pub(super) fn new(settings: &config::Model) -> Self {
        // People also paste the address with the path that some pages show.
        let mut resource = settings.endpoint.as_str().trim_end_matches('/');
        for tail in ["/v1", "/openai"] {
            resource = resource.strip_suffix(tail).unwrap_or(resource);
        }
        let base = match &settings.api_version {
            None => format!("{resource}/openai/v1"),
            Some(_) => {
                let deployment = utf8_percent_encode(&settings.deployment, SEGMENT);
                format!("{resource}/openai/deployments/{deployment}")
            }
        };
        Self { base, api_version: settings.api_version.clone(), no_key: SecretString::from(String::new()) }
    }
}

impl Config for Surface {
    fn headers(&self) -> HeaderMap {
        HeaderMap::new()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        self.api_version.iter().map(|version| ("api-version", version.as_str())).collect()
    }

    fn api_base(&self) -> &str {
        &self.base
    }

    fn api_key(&self) -> &SecretString {
        &self.no_key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surface(
        endpoint: &str,
        deployment: &str,
        api_version: Option<&str>,
    ) -> (String, Vec<(String, String)>) {
        let surface = Surface::new(&config::Model {
            endpoint: endpoint.parse().unwrap(),
            deployment: deployment.to_owned(),
            api_version: api_version.map(str::to_owned),
            api_key: None,
        });
        let query = surface.query().into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        (surface.url("/chat/completions"), query)
    }

    #[test]
    fn both_surfaces_have_their_addresses() {
        let v1 = "https://c.openai.azure.com/openai/v1/chat/completions";
        for endpoint in [
            "https://c.openai.azure.com",
            "https://c.openai.azure.com/",
            "https://c.openai.azure.com/openai",
            "https://c.openai.azure.com/openai/v1/",
        ] {
            assert_eq!(surface(endpoint, "gpt", None), (v1.to_owned(), vec![]));
        }
        let (url, query) = surface("https://gate.example/ai", "a b/../c", Some("2024-10-21"));
        assert_eq!(url, "https://gate.example/ai/openai/deployments/a%20b%2F..%2Fc/chat/completions");
        assert_eq!(query, [("api-version".to_owned(), "2024-10-21".to_owned())]);
    }
}
