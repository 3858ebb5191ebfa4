//! The model: one tiny request, as a run would make it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::{Bag, Findings, MODEL, SIDECAR, Status, sentence};
use crate::http::reason;
use crate::identity::{Audience, Identity};
use crate::model::{BearerSource, Conversation, Message, Model, ModelError, ToolSchemas};

/// Longest time for the answer of a host that is only looked at.
const REACH_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time for the tiny request with its attempts.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// The whole request.
const QUESTION: &str = "Answer with the one word: ready";
/// How a service names a deployment that it does not have.
const NO_DEPLOYMENT: [&str; 2] = ["DeploymentNotFound", "deployment for this resource does not exist"];

struct Bearer(Arc<Identity>);

impl BearerSource for Bearer {
    fn bearer(&self) -> BoxFuture<'_, anyhow::Result<SecretString>> {
        Box::pin(async { Ok(self.0.bearer(Audience::Model).await?) })
    }

    fn renew<'a>(&'a self, rejected: &'a SecretString) -> BoxFuture<'a, anyhow::Result<SecretString>> {
        Box::pin(async move { Ok(self.0.renew(Audience::Model, rejected).await?) })
    }
}

impl Bag<'_> {
    /// Whether the deployment answers.
    pub(super) async fn model(&self, findings: &mut Findings) {
        let settings = &self.doctor.config.model;
        let failed = |line: &str| findings.0.iter().any(|c| c.id == line && c.status == Status::Failed);
        if settings.api_key.is_none() {
            if failed(SIDECAR.0) {
                return findings.skip(MODEL, "The sidecar, which gives its token, cannot be used.");
            }
            // Its own words are better than those around them.
            if let Err(error) = self.identity.bearer(Audience::Model).await {
                let reason = format!("There is no token for it. {}", sentence(&error.to_string()));
                return findings.fail(MODEL, reason, error.remedy());
            }
        }
        let host = settings.endpoint.origin().ascii_serialization();
        let look = self.doctor.http.get(settings.endpoint.clone()).timeout(REACH_TIMEOUT).send().await;
        if let Err(error) = look {
            let found = format!("The endpoint {host} does not answer: {}", reason(error));
            let remedy =
                "Check AZURE_OPENAI_ENDPOINT, the name service, and the network's rules for what may go out.";
            return findings.fail(MODEL, sentence(&found), remedy);
        }
        match tokio::time::timeout(REPLY_TIMEOUT, self.ask()).await {
            Ok(Ok(name)) => {
                findings.ok(MODEL, format!("The deployment {} answers, as {name}.", settings.deployment));
            }
            Ok(Err(error)) => {
                let text = error.to_string();
                if NO_DEPLOYMENT.iter().any(|words| text.contains(words)) {
                    let found = format!("There is no deployment {} at {host}: {text}", settings.deployment);
                    let remedy = "Correct AZURE_OPENAI_DEPLOYMENT (the deployment's name, not the model's) or \
                                  AZURE_OPENAI_ENDPOINT; a new deployment needs some minutes.";
                    findings.fail(MODEL, sentence(&found), remedy);
                } else {
                    findings.fail(MODEL, sentence(&text), error.remedy());
                }
            }
            Err(_) => findings.fail(
                MODEL,
                format!(
                    "The endpoint {host} did not answer a tiny request within {} s.",
                    REPLY_TIMEOUT.as_secs()
                ),
                "Look at the service's health and at the deployment's quota, then check again.",
            ),
        }
    }

    async fn ask(&self) -> Result<String, ModelError> {
        let bearer = Arc::new(Bearer(self.identity.clone()));
        let (http, clock) = (self.doctor.http.clone(), self.doctor.clock.clone());
        let model = Model::new(&self.doctor.config.model, bearer, http, clock);
        let mut conversation = Conversation::new();
        conversation.push(&Message::User { text: QUESTION.to_owned() })?;
        let none =
            ToolSchemas::new(&[]).map_err(|error| ModelError::Invalid { detail: error.to_string() })?;
        let reply = model.reply(&conversation, &none, &mut |_| {}, &CancellationToken::new()).await?;
        Ok(reply.model)
    }
}
