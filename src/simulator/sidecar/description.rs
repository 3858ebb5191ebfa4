//! `/openapi/v1.json`, which only a sidecar in Development serves (SIDECAR.md §1, §3).

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::{Shared, Version};

/// Query parameters of every route that gives or uses a token, and whether each is a boolean.
const PARAMETERS: [(&str, bool); 18] = [
    ("AgentIdentity", false),
    ("AgentUsername", false),
    ("AgentUserId", false),
    ("optionsOverride.Scopes", false),
    ("optionsOverride.RequestAppToken", true),
    ("optionsOverride.BaseUrl", false),
    ("optionsOverride.RelativePath", false),
    ("optionsOverride.HttpMethod", false),
    ("optionsOverride.AcceptHeader", false),
    ("optionsOverride.ContentType", false),
    ("optionsOverride.AcquireTokenOptions.Tenant", false),
    ("optionsOverride.AcquireTokenOptions.ForceRefresh", true),
    ("optionsOverride.AcquireTokenOptions.Claims", false),
    ("optionsOverride.AcquireTokenOptions.CorrelationId", false),
    ("optionsOverride.AcquireTokenOptions.LongRunningWebApiSessionKey", false),
    ("optionsOverride.AcquireTokenOptions.FmiPath", false),
    ("optionsOverride.AcquireTokenOptions.PopPublicKey", false),
    ("optionsOverride.AcquireTokenOptions.ManagedIdentity.UserAssignedClientId", false),
];

/// What the sidecar can do, for tools.
pub async fn describe(State(sidecar): Shared) -> Response {
    let settings = sidecar.settings();
    if !settings.development {
        return StatusCode::NOT_FOUND.into_response();
    }
    // The document's own version was never raised; that of the format tells the families apart.
    let format = if settings.version == Version::V1_0_0 { "3.0.1" } else { "3.1.1" };
    let mut paths = Map::new();
    for (path, method, result) in [
        ("/AuthorizationHeader/{apiName}", "get", "AuthorizationHeaderResult"),
        ("/AuthorizationHeaderUnauthenticated/{apiName}", "get", "AuthorizationHeaderResult"),
        ("/DownstreamApi/{apiName}", "post", "DownstreamApiResult"),
        ("/DownstreamApiUnauthenticated/{apiName}", "post", "DownstreamApiResult"),
    ] {
        paths.insert(path.to_owned(), json!({ method: operation(&parameters(), result) }));
    }
    let validate = operation(&[], "ValidateAuthorizationHeaderResult");
    paths.insert("/Validate".to_owned(), json!({ "get": validate }));
    let document = json!({
        "openapi": format,
        "info": {"title": "Microsoft.Identity.Web.Sidecar | v1", "version": "1.0.0"},
        "paths": paths,
        "components": {"schemas": schemas()},
    });
    Json(document).into_response()
}

fn parameters() -> Vec<Value> {
    let name = json!({"name": "apiName", "in": "path", "required": true, "schema": {"type": "string"}});
    let kind = |boolean| if boolean { "boolean" } else { "string" };
    let query = PARAMETERS
        .map(|(name, boolean)| json!({"name": name, "in": "query", "schema": {"type": kind(boolean)}}));
    std::iter::once(name).chain(query).collect()
}

fn operation(parameters: &[Value], result: &str) -> Value {
    let content = |schema: &str| json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}});
    let problem = content("ProblemDetails");
    json!({
        "parameters": parameters,
        "responses": {
            "200": {"description": "OK", "content": content(result)},
            "400": {"description": "Bad Request", "content": problem},
            "401": {"description": "Unauthorized", "content": problem},
        },
    })
}

fn schemas() -> Value {
    let text = json!({"type": "string"});
    let lists = json!({"type": "object", "additionalProperties": {"type": "array", "items": text}});
    json!({
        "AuthorizationHeaderResult": {
            "type": "object", "required": ["authorizationHeader"], "properties": {"authorizationHeader": text},
        },
        "DownstreamApiResult": {
            "type": "object", "required": ["statusCode", "headers", "content"],
            "properties": {"statusCode": {"type": "integer", "format": "int32"}, "headers": lists, "content": text},
        },
        "ProblemDetails": {
            "type": "object",
            "properties": {
                "type": text, "title": text, "status": {"type": "integer", "format": "int32"}, "detail": text,
                "instance": text,
            },
        },
        "ValidateAuthorizationHeaderResult": {
            "type": "object", "required": ["protocol", "token", "claims"],
            "properties": {"protocol": text, "token": text, "claims": {}},
        },
    })
}
