//! The sidecar's configuration as its container gets it: variables such as `AzureAd__ClientId`
//! (SIDECAR.md §8). What is not set has the real one's default.

use std::collections::BTreeMap;

use url::Url;

use super::{Credential, Profile, Settings};

/// Most credentials, and most profiles, that are read.
const MANY: usize = 20;
/// The real sidecar's own default instance.
const INSTANCE: &str = "https://login.microsoftonline.com/";
/// Where a managed identity's token comes from on a host of Azure.
const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// Variables by name, in any letter case.
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(&name.to_ascii_lowercase()).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn flag(&self, name: &str, unset: bool) -> bool {
        self.get(name).map_or(unset, |value| value.eq_ignore_ascii_case("true"))
    }

    /// Names of the profiles, as written.
    fn profiles(&self, given: &BTreeMap<String, String>) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for key in given.keys() {
            let Some((first, rest)) = key.split_once("__") else { continue };
            let Some((name, _)) = rest.split_once("__") else { continue };
            let known = names.iter().any(|own| own == name);
            if first.eq_ignore_ascii_case("DownstreamApis") && !known && names.len() < MANY {
                names.push(name.to_owned());
            }
        }
        names
    }
}

/// What a start with these variables makes of `before`, of which only version and clock stay.
///
/// # Errors
/// What a variable lacks, in words.
pub fn read(before: &Settings, given: &BTreeMap<String, String>) -> Result<Settings, String> {
    let lower = given.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let all = Variables(lower.collect());
    let need = |name: &str| all.get(name).map(str::to_owned).ok_or(format!("{name} is not set"));
    let url = |name: &str, text: &str| Url::parse(text).map_err(|error| format!("{name}: {error}"));
    let instance = url("AzureAd__Instance", all.get("AzureAd__Instance").unwrap_or(INSTANCE))?;
    let gate = |name: &str, unset: bool| all.flag(&format!("Sidecar__AllowOverrides__{name}"), unset);
    let mut profiles = Vec::new();
    for name in all.profiles(given) {
        let at = |key: &str| format!("DownstreamApis__{name}__{key}");
        let scope = all.get(&at("Scopes__0")).map(|scope| scope.trim_end_matches("/.default").to_owned());
        let base_url = all.get(&at("BaseUrl")).map(|text| url(&at("BaseUrl"), text)).transpose()?;
        profiles.push(Profile {
            audience: scope,
            request_app_token: all.flag(&at("RequestAppToken"), false),
            base_url,
            relative_path: all.get(&at("RelativePath")).unwrap_or_default().to_owned(),
            method: all.get(&at("HttpMethod")).map(str::to_owned),
            name,
        });
    }
    Ok(Settings {
        version: before.version,
        instance: Some(instance.clone()),
        tenant_id: need("AzureAd__TenantId")?,
        client_id: need("AzureAd__ClientId")?,
        credentials: credentials(&all, &instance)?,
        required_scopes: all
            .get("AzureAd__Scopes")
            .map(|scopes| scopes.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default(),
        allow_overrides: gate("GetAuthorizationHeader", true),
        allow_overrides_unauthenticated: gate("GetAuthorizationHeaderUnauthenticated", false),
        allow_downstream_overrides: gate("CallDownstreamApi", true),
        allow_downstream_overrides_unauthenticated: gate("CallDownstreamApiUnauthenticated", false),
        development: all
            .get("ASPNETCORE_ENVIRONMENT")
            .is_some_and(|name| name.eq_ignore_ascii_case("Development")),
        profiles,
        clock: before.clock.clone(),
    })
}

fn credentials(all: &Variables, instance: &Url) -> Result<Vec<Credential>, String> {
    let mut found = Vec::new();
    for at in 0..MANY {
        let name = |key: &str| format!("AzureAd__ClientCredentials__{at}__{key}");
        let Some(kind) = all.get(&name("SourceType")) else { break };
        found.push(match kind {
            "ClientSecret" => {
                let secret =
                    all.get(&name("ClientSecret")).ok_or(format!("{} is not set", name("ClientSecret")))?;
                Credential::Secret(secret.to_owned())
            }
            "SignedAssertionFilePath" => {
                let path = all
                    .get(&name("SignedAssertionFileDiskPath"))
                    .or(all.get("AZURE_FEDERATED_TOKEN_FILE"))
                    .ok_or("neither SignedAssertionFileDiskPath nor AZURE_FEDERATED_TOKEN_FILE is set")?;
                Credential::AssertionFile(path.into())
            }
            "SignedAssertionFromManagedIdentity" => {
                // A simulated tenant serves its host's metadata beside itself.
                let local = instance.scheme() == "http";
                let address = if local {
                    instance.join("/metadata/identity/oauth2/token")
                } else {
                    Url::parse(METADATA)
                };
                Credential::ManagedIdentity(address.map_err(|error| error.to_string())?)
            }
            other => return Err(format!("the credential '{other}' is not known here")),
        });
    }
    Ok(found)
}
