//! What clients ask before anything else: locations and resource areas.

use serde_json::{Value, json};

use super::{Call, Reply, routes};
use crate::simulator::azure_devops::state::Outcome;

/// Areas: id and name. Every one leads to this host, which serves what is in the table of routes; clients
/// do not even begin to ask in an area that is not named.
const AREAS: &[(&str, &str)] = &[
    ("79134c72-4a58-4b42-976c-04e7115f32bf", "core"),
    ("4e080c62-fa21-4fbc-8fef-2a10a2b38049", "git"),
    ("5264459e-e5e0-4bd8-b118-0985e68a4ec5", "wit"),
    ("1d4f49f9-02b9-4e26-b826-2cdb6195f2a9", "work"),
    ("85f8c7b6-92fe-4ba6-8b6d-fbb67c809341", "worktracking"),
    ("fb13a388-40dd-4a04-b530-013a739c72ef", "policy"),
    ("5d6898bb-45ec-463f-95f9-54d49c71752e", "build"),
    ("965220d5-5bb9-42cf-8d67-9b146df2a5a4", "Build"),
    ("2e0bf237-8973-4ec9-a581-9c3d679d1776", "pipelines"),
    ("6f0d0cb2-7079-41fa-aeef-4772f7a835f7", "hookssvc"),
    ("8a3d49b8-91f0-46ef-b33d-dda338c25db3", "IMS"),
    ("fc3682be-3d6c-427a-87c8-e527b16a1d05", "Identity"),
    ("bb1e7ec9-e901-4b68-999a-de7012b920f8", "Graph"),
    ("ea48a0a1-269c-42d8-b8ad-ddc8fcdcf578", "search"),
    ("c2aa639c-3ccc-4740-b3b6-ce2a1e1d984e", "Test"),
    ("c83eaf52-edf3-4034-ae11-17d38f25404c", "testresults"),
    ("3b95fb80-fdda-4218-b60e-1052d070ae6b", "Test"),
    ("e4c27205-9d23-4c98-b958-d798bc3f9cd4", "testplan"),
    ("a85b8835-c1a1-4aac-ae97-1c3d0ba72dbd", "distributedtask"),
    ("68ddce18-2501-45f1-a17b-7931a9922690", "MemberEntitlementManagement"),
    ("1814ab31-2f4f-4a9f-8761-f4d77dc5a5d7", "serviceendpoint"),
    ("bf7d82a0-8aa5-4613-94ef-6172a5ea01f3", "wiki"),
    ("8aa40520-446d-40e6-89f6-9c9f9ce44c48", "tfvc"),
    ("efc2f575-36ef-48e9-b672-0c6fb4a48ac5", "Release"),
    ("31c84e0a-3ece-48fd-a29d-100849af99ba", "Dashboard"),
    ("67349c8b-6425-42f2-97b6-0843cb037473", "Favorite"),
    ("0d55247a-1c47-4462-9b1f-5e2125590ee6", "Account"),
    ("7ab4e64e-c4d8-4f50-ae73-5ef2e21642a5", "Packaging"),
    ("6c2b0933-3600-42ae-bf8b-93d4f7e83594", "ExtensionManagement"),
    ("bc93db6f-a647-4d80-a3af-efa394e4baa7", "ProjectSettings"),
    ("00025394-6065-48ca-87d9-7f5672854ef7", "Location Service"),
    ("94ff054d-5ee1-413d-9341-3f4a7827de2e", "audit"),
    ("951917ac-a960-4999-8464-e3f0aa25b381", "SPS Location Service"),
];

/// `OPTIONS _apis` and `OPTIONS _apis/{area}`.
pub fn options(segments: &[String]) -> Reply {
    let after = segments.iter().position(|s| s.eq_ignore_ascii_case("_apis")).map_or(0, |at| at + 1);
    let area = segments.get(after).map(String::as_str);
    let wanted = |found: &&routes::Location| area.is_none_or(|a| found.area.eq_ignore_ascii_case(a));
    let value: Vec<Value> = routes::locations().filter(wanted).map(routes::Location::render).collect();
    Reply::ok(json!({"value": value, "count": value.len()}))
}

/// `GET _apis/ResourceAreas`; empty in the layout of the server product.
pub fn resource_areas(call: &Call<'_>) -> Outcome<Reply> {
    let base = format!("{}/", call.base);
    let render = |(id, name): &(&str, &str)| json!({"id": id, "name": name, "locationUrl": base});
    let served: &[(&str, &str)] = if call.on_premises { &[] } else { AREAS };
    match call.optional("areaId") {
        Some(id) => {
            Ok(Reply::ok(served.iter().find(|(a, _)| a.eq_ignore_ascii_case(id)).map_or(Value::Null, render)))
        }
        None => Ok(Reply::list(served.iter().map(render).collect())),
    }
}
