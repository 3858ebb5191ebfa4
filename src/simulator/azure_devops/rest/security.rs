//! Permissions of the caller, by security namespace, bits and token.

use serde_json::json;
use uuid::Uuid;

use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::access::Permission;
use crate::simulator::azure_devops::state::{Outcome, World};

/// Git Repositories; token `repoV2/{project}/{repository}`.
const GIT: Uuid = Uuid::from_u128(0x2e9eb7ed_3c0a_47d4_87c1_0ffdd275fd87);
/// Areas; token `vstfs:///Classification/Node/{identifier}`, several of them joined by colons.
const AREAS: Uuid = Uuid::from_u128(0x83e28ad4_2d72_4ceb_97b0_c7726d5502c3);
/// Service hooks; token `PublisherSecurity/{project}`.
const HOOKS: Uuid = Uuid::from_u128(0xcb594ebe_87dd_4fc9_ac2c_6a10a4c92046);
/// Tokens of one question.
const TOKENS: usize = 100;
/// Area nodes of one project; their identifiers are the project's with a small number mixed in.
const NODES: u128 = 1 << 16;

/// `GET permissions/{securityNamespaceId}/{permissions}?tokens=`.
pub fn permissions(call: &Call<'_>) -> Outcome<Reply> {
    let namespace = call.guid("securityNamespaceId")?;
    let bits = call.number("permissions")?;
    let delimiter = call.query.get("delimiter").and_then(|d| d.chars().next()).unwrap_or(',');
    if ![GIT, AREAS, HOOKS].contains(&namespace) {
        let text = format!("The security namespace with id {namespace} could not be found.");
        return Err(Refusal::new(404, "InvalidSecurityNamespaceException", text));
    }
    let world = call.organisation.lock();
    let tokens = call.query.get("tokens").unwrap_or_default();
    let answers = tokens.split(delimiter).take(TOKENS).map(|token| {
        let each = (0..u32::BITS).map(|at| 1 << at).filter(|bit| bits & bit != 0);
        json!(bits != 0 && each.clone().all(|bit| has(&world, call.actor.id, namespace, bit, token)))
    });
    Ok(Reply::list(answers.collect()))
}

fn has(world: &World, actor: Uuid, namespace: Uuid, bit: u32, token: &str) -> bool {
    let parts: Vec<&str> = token.split('/').collect();
    let id = |at: usize| parts.get(at).and_then(|text| Uuid::try_parse(text).ok());
    match namespace {
        GIT => {
            let permission = match bit {
                2 => Permission::GenericRead,
                4 => Permission::GenericContribute,
                8 => Permission::ForcePush,
                16 => Permission::CreateBranch,
                128 => Permission::PolicyExempt,
                16_384 => Permission::PullRequestContribute,
                _ => return false,
            };
            id(1).is_some_and(|project| world.may(actor, project, id(2), permission))
        }
        AREAS => {
            let permission = match bit {
                1 | 16 => Permission::WorkItemRead,
                32 => Permission::WorkItemWrite,
                _ => return false,
            };
            let node = parts.last().and_then(|text| Uuid::try_parse(text).ok());
            let belongs = |project: &Uuid| node.is_some_and(|n| n.as_u128() ^ project.as_u128() < NODES);
            let project = world.projects.keys().find(|project| belongs(project));
            project.is_some_and(|project| world.may(actor, *project, None, permission))
        }
        _ => id(1).is_some_and(|project| world.may(actor, project, None, Permission::EditSubscriptions)),
    }
}
