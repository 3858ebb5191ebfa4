//! `DownstreamApi`: the sidecar makes the call itself, and most of the answer is lost (SIDECAR.md §3).

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use url::Url;

use super::problem::Failure;
use super::wanted::Wanted;
use super::{Parameters, Settings, Shared, Sidecar, Version, inbound, rules};
use crate::simulator::entra::jwks;

/// Content headers, which are all that is passed back.
const CONTENT_HEADERS: [&str; 6] = [
    "content-type",
    "content-length",
    "content-encoding",
    "content-language",
    "content-disposition",
    "last-modified",
];

/// `POST /DownstreamApi/{api}`.
pub async fn authenticated(
    State(sidecar): Shared,
    Path(api): Path<String>,
    Query(query): Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let settings = sidecar.connected().await;
    let gate = settings.version == Version::V1_0_0 || settings.allow_downstream_overrides;
    let wanted = Wanted::read(&query, gate, settings.version);
    match inbound::caller(&sidecar, &settings, &headers).await {
        Ok(caller) => sidecar.pass_on(&settings, &api, &wanted, Some(&caller.token), &headers, body).await,
        Err(refused) => refused,
    }
}

/// `POST /DownstreamApiUnauthenticated/{api}`.
pub async fn unauthenticated(
    State(sidecar): Shared,
    Path(api): Path<String>,
    Query(query): Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let settings = sidecar.connected().await;
    let gate = settings.version == Version::V1_0_0 || settings.allow_downstream_overrides_unauthenticated;
    let wanted = Wanted::read(&query, gate, settings.version);
    sidecar.pass_on(&settings, &api, &wanted, None, &headers, body).await
}

impl Sidecar {
    async fn pass_on(
        &self,
        settings: &Settings,
        api: &str,
        wanted: &Wanted,
        caller: Option<&str>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response {
        let token = match self.token(settings, api, wanted, caller).await {
            Ok(token) => token,
            Err(failure) => return failure.answer(api),
        };
        match self.call(settings, api, wanted, &token, headers, body).await {
            Ok(answer) => rules::uncached(Json(answer).into_response()),
            Err(error) => {
                tracing::error!(%error, "the downstream call failed");
                Failure::INNER.answer(api)
            }
        }
    }

    async fn call(
        &self,
        settings: &Settings,
        api: &str,
        wanted: &Wanted,
        token: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> anyhow::Result<Value> {
        let profile =
            settings.profiles.iter().find(|profile| profile.name == api).cloned().unwrap_or_default();
        let over = &wanted.call;
        let base = over.base_url.as_deref().map(Url::parse).transpose()?.or(profile.base_url);
        let base = base.ok_or_else(|| anyhow::anyhow!("the profile '{api}' has no BaseUrl"))?;
        let path = over.relative_path.as_deref().unwrap_or(&profile.relative_path);
        let mut url =
            Url::parse(&format!("{}/{}", base.as_str().trim_end_matches('/'), path.trim_start_matches('/')))?;
        if !over.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&over.query);
        }
        let method = over.method.clone().or(profile.method).unwrap_or_else(|| "GET".into()).to_uppercase();
        let http = self.http().map_err(|_| anyhow::anyhow!("no HTTP client"))?;
        let mut request =
            http.request(reqwest::Method::from_bytes(method.as_bytes())?, url).bearer_auth(token);
        for (name, value) in &over.headers {
            request = request.header(name, value);
        }
        request = request.header(header::ACCEPT, over.accept.as_deref().unwrap_or("application/json"));
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if let Some(kind) = over.content_type.as_deref().or(kind) {
            // As text: what is not UTF-8 is damaged, as by the real one.
            let text = String::from_utf8_lossy(&body).into_owned();
            request = request.header(header::CONTENT_TYPE, kind).body(text);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let mut kept = Map::new();
        for (name, value) in
            response.headers().iter().filter(|(name, _)| CONTENT_HEADERS.contains(&name.as_str()))
        {
            let name = name.as_str().split('-').map(capital).collect::<Vec<_>>().join("-");
            kept.insert(name, json!([String::from_utf8_lossy(value.as_bytes())]));
        }
        let content = String::from_utf8_lossy(&jwks::body(response).await?).into_owned();
        let content = (!content.is_empty()).then_some(content);
        Ok(json!({"statusCode": status, "headers": kept, "content": content}))
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}
