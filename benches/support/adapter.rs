//! Speaks Azure DevOps, the sidecar and Azure OpenAI on one side, and the shared tool API and model on
//! the other. Each read of a work item is one request there, each turn of the model one.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::after;

/// Application id of the agent identity.
pub const AGENT_IDENTITY: &str = "44444444-dddd-4ddd-8ddd-444444444444";
/// Name of the agent user.
pub const AGENT_USER: &str = "ado-coworker@contoso.example";
/// How long the tokens hold, in seconds.
const TOKEN_SECONDS: i64 = 24 * 3_600;

struct World {
    base: String,
    http: reqwest::Client,
}

type Shared = State<Arc<World>>;

/// Serves on a free port and says which.
pub async fn serve(arguments: &[String]) -> anyhow::Result<()> {
    let base = after(arguments, "--base", "http://127.0.0.1:9100".to_owned());
    let world = Arc::new(World { base, http: ado_coworker::config::http_client()? });
    let router = Router::new()
        .route("/openai/v1/chat/completions", post(chat))
        .route("/AuthorizationHeaderUnauthenticated/{profile}", get(token))
        .route("/bench/_apis/connectionData", get(me))
        .route("/bench/{project}/_apis/wit/workitems/{id}", get(item))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(world);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    use axum::serve::ListenerExt as _;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}

fn failed(error: reqwest::Error) -> Response {
    (StatusCode::BAD_GATEWAY, error.to_string()).into_response()
}

async fn chat(State(world): Shared, body: Bytes) -> Response {
    let request = world.http.post(format!("{}/v1/chat/completions", world.base));
    let answer = match request.header(CONTENT_TYPE, "application/json").body(body).send().await {
        Ok(answer) => answer.text().await,
        Err(error) => return failed(error),
    };
    match answer {
        // The shared script asks for a tool of its own name.
        Ok(text) => {
            ([(CONTENT_TYPE, "text/event-stream")], text.replace("get_item", "get_work_item")).into_response()
        }
        Err(error) => failed(error),
    }
}

async fn token(Path(profile): Path<String>) -> Json<Value> {
    let audience = match profile.as_str() {
        "ado" => "499b84ac-1321-427f-aa17-267ca6975798",
        _ => "https://cognitiveservices.azure.com",
    };
    let now = ado_coworker::clock::Clock::Real.now().as_second();
    let claims = json!({
        "aud": audience, "exp": now + TOKEN_SECONDS, "appid": AGENT_IDENTITY, "idtyp": "user",
        "oid": "55555555-eeee-4eee-8eee-555555555555", "upn": AGENT_USER, "scp": "user_impersonation",
        "xms_act_fct": "3 11 9", "xms_sub_fct": "3 13", "uti": "bench",
    });
    let part = |value: String| URL_SAFE_NO_PAD.encode(value);
    let text = format!("{}.{}.sig", part(r#"{"alg":"none"}"#.into()), part(claims.to_string()));
    Json(json!({ "authorizationHeader": format!("Bearer {text}") }))
}

async fn me() -> Json<Value> {
    Json(json!({ "authenticatedUser": { "id": "me", "providerDisplayName": "ado-coworker" } }))
}

async fn item(State(world): Shared, Path((project, id)): Path<(String, u64)>) -> Response {
    let request = world.http.get(format!("{}/items/{id}", world.base)).header(AUTHORIZATION, "Bearer t");
    let answer = match request.send().await {
        Ok(answer) => answer.json::<Value>().await,
        Err(error) => return failed(error),
    };
    match answer {
        Ok(mut item) => {
            item["fields"]["System.TeamProject"] = json!(project);
            item["fields"]["System.WorkItemType"] = json!("Issue");
            // As the service says it: so nobody asks for its discussion, and a step is one read.
            item["fields"]["System.CommentCount"] = json!(0);
            Json(item).into_response()
        }
        Err(error) => failed(error),
    }
}
