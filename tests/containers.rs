//! Dockerfile, docker-compose.yml and k8s/ agree with each other and with the node: ports, paths, variables, names.
//! Reads files, starts nothing; `scripts/testnet docker` starts them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use quorate::config::KEYS;
use serde::Deserialize as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use yaml_serde::{Deserializer, Value};

const IMAGE: &str = "consensus-node:latest";
const NODES: usize = 4;
/// Peers, clients, metrics.
const PORTS: [(&str, u64); 3] = [("p2p", 26656), ("rpc", 26657), ("metrics", 26660)];
const MANIFESTS: [&str; 4] = ["config", "policy", "service", "statefulset"];
/// The user of the image.
const USER: u64 = 10001;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// What `kubectl apply -f k8s/` sends, as (kind/name, object).
fn objects() -> BTreeMap<String, Value> {
    let mut objects = BTreeMap::new();
    for file in MANIFESTS {
        for document in Deserializer::from_str(&read(&format!("k8s/{file}.yaml"))) {
            let object = Value::deserialize(document).unwrap();
            let name = format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]));
            assert!(objects.insert(name.clone(), object).is_none(), "{name} is there twice");
        }
    }
    objects
}

fn compose() -> Value {
    let mut compose: Value = yaml_serde::from_str(&read("docker-compose.yml")).unwrap();
    compose.apply_merge().unwrap();
    compose
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value:?}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_sequence().map_or(&[], Vec::as_slice)
}

/// The fields `name` of a list's entries.
fn names(value: &Value) -> BTreeSet<&str> {
    list(value).iter().map(|entry| text(&entry["name"])).collect()
}

fn pod(objects: &BTreeMap<String, Value>) -> &Value {
    &objects["StatefulSet/quorate"]["spec"]["template"]["spec"]
}

/// All containers of the pod, those that run first included.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["initContainers"]).iter().chain(list(&pod["containers"]))
}

/// The node of the pod.
fn node(pod: &Value) -> &Value {
    list(&pod["containers"]).iter().find(|container| container["name"] == "node").unwrap()
}

#[test]
fn every_file_of_the_cluster_is_known_here() {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s")).unwrap();
    let files: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, MANIFESTS.map(|name| format!("{name}.yaml")).into());
}

#[test]
fn every_variable_that_is_set_is_one_the_node_reads() {
    let known: BTreeSet<String> = KEYS.iter().map(quorate::config::Key::variable).collect();
    let mut seen = 0;
    let files = ["Dockerfile", "docker-compose.yml", "k8s/config.yaml", "k8s/statefulset.yaml"];
    for (file, content) in files.map(|file| (file, read(file))) {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        for word in content.split(|c| !is_name(c)).filter(|word| word.starts_with("QUORATE_")) {
            seen += 1;
            assert!(word == "QUORATE_HOME" || known.contains(word), "{file} sets {word}, which is no key's variable");
        }
    }
    assert!(seen >= 8, "{seen} variables");
}

#[test]
fn ports_are_the_same_everywhere() {
    let dockerfile = read("Dockerfile");
    let exposed: Vec<u64> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("EXPOSE "))
        .flat_map(|ports| ports.split(' ').map(|port| port.parse().unwrap()))
        .collect();
    assert_eq!(exposed, PORTS.map(|(_, port)| port));

    let objects = objects();
    let declared = list(&node(pod(&objects))["ports"]);
    let declared: Vec<_> = declared.iter().map(|p| (text(&p["name"]), p["containerPort"].as_u64().unwrap())).collect();
    assert_eq!(declared, PORTS);
    for service in ["Service/quorate", "Service/quorate-rpc"] {
        for port in list(&objects[service]["spec"]["ports"]) {
            let pair = (text(&port["targetPort"]), port["port"].as_u64().unwrap());
            assert!(PORTS.contains(&pair), "{service} has {pair:?}");
        }
    }
    for rule in list(&objects["NetworkPolicy/quorate"]["spec"]["ingress"]) {
        for port in list(&rule["ports"]) {
            assert!(PORTS.iter().any(|(name, _)| port["port"] == *name), "{port:?}");
        }
    }
}

#[test]
fn probes_ask_for_what_the_node_serves() {
    let routes = read("src/rpc/http.rs");
    let objects = objects();
    let node = node(pod(&objects));
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        let asks = &node[probe]["httpGet"];
        assert_eq!((text(&asks["path"]), text(&asks["port"])), (path, "rpc"), "{probe}");
        assert!(routes.contains(&format!(".route(\"{path}\"")), "{path} is no route of the node");
    }
}

#[test]
fn names_in_the_cluster_refer_to_what_is_there() {
    let objects = objects();
    let set = &objects["StatefulSet/quorate"]["spec"];
    let labels = &set["template"]["metadata"]["labels"];
    assert_eq!(&set["selector"]["matchLabels"], labels);
    for service in ["Service/quorate", "Service/quorate-rpc"] {
        assert_eq!(&objects[service]["spec"]["selector"], labels, "{service}");
    }
    assert_eq!(&objects["PodDisruptionBudget/quorate"]["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&objects["NetworkPolicy/quorate"]["spec"]["podSelector"]["matchLabels"], labels);

    let governing = &objects[&format!("Service/{}", text(&set["serviceName"]))]["spec"];
    assert_eq!((&governing["clusterIP"], &governing["publishNotReadyAddresses"]), (&"None".into(), &true.into()));
    let asked = list(&list(&pod(&objects)["initContainers"])[0]["env"]).iter().find(|entry| entry["name"] == "SERVICE");
    assert_eq!(asked.unwrap()["value"], set["serviceName"], "where the pods look for each other");

    let pod = pod(&objects);
    let volumes: BTreeSet<&str> = names(&pod["volumes"])
        .into_iter()
        .chain(list(&set["volumeClaimTemplates"]).iter().map(|claim| text(&claim["metadata"]["name"])))
        .collect();
    for container in containers(pod) {
        let mounted = names(&container["volumeMounts"]);
        assert!(mounted.is_subset(&volumes), "{container:?}");
        for source in list(&container["envFrom"]) {
            assert!(objects.contains_key(&format!("ConfigMap/{}", text(&source["configMapRef"]["name"]))));
        }
    }
    for map in list(&pod["volumes"]).iter().filter_map(|volume| volume["configMap"]["name"].as_str()) {
        assert!(objects.contains_key(&format!("ConfigMap/{map}")), "{map}");
    }
    let parameters = &objects["ConfigMap/quorate"]["data"];
    assert_eq!(text(&parameters["VALIDATORS"]), set["replicas"].as_u64().unwrap().to_string());
    assert_eq!(set["podManagementPolicy"], "Parallel", "a node is ready only when the others are there");
}

#[test]
fn nothing_runs_as_root_and_the_application_sees_no_keys() {
    let dockerfile = read("Dockerfile");
    let user = dockerfile.lines().rev().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert_eq!(user, format!("{USER}:{USER}"));

    let objects = objects();
    let pod = pod(&objects);
    let security = &pod["securityContext"];
    assert_eq!((&security["runAsNonRoot"], &security["runAsUser"]), (&true.into(), &USER.into()));
    assert_eq!(pod["automountServiceAccountToken"], false);
    for container in containers(pod) {
        let least = &container["securityContext"];
        assert_eq!(text(&container["image"]), IMAGE);
        assert_eq!(least["readOnlyRootFilesystem"], true, "{container:?}");
        assert_eq!(least["allowPrivilegeEscalation"], false, "{container:?}");
        assert_eq!(list(&least["capabilities"]["drop"]), ["ALL"], "{container:?}");
    }
    let app = list(&pod["containers"]).iter().find(|container| container["name"] == "app").unwrap();
    assert!(!names(&app["volumeMounts"]).contains("home"), "the application does not see the node's home");
}

#[test]
fn composed_nodes_share_nothing_but_the_network() {
    let compose = compose();
    let services = &compose["services"];
    let mut used = BTreeSet::new();
    let mut published = BTreeSet::new();
    for index in 0..NODES {
        let (node, app) = (&services[format!("node{index}")], &services[format!("app{index}")]);
        for service in [node, app] {
            assert_eq!((text(&service["image"]), &service["read_only"]), (IMAGE, &true.into()));
            assert_eq!(list(&service["cap_drop"]), ["ALL"]);
        }
        assert_eq!(app["network_mode"], "none", "an application is its node's alone");
        let run = format!("run{index}:/run/quorate");
        assert_eq!(list(&node["volumes"]), [Value::from(format!("node{index}:/var/lib/quorate")), run.as_str().into()]);
        assert_eq!(list(&app["volumes"]), [Value::from(format!("app{index}:/var/lib/quorate")), run.as_str().into()]);
        used.extend(["node", "app", "run"].map(|kind| format!("{kind}{index}")));
        for (port, (_, inside)) in list(&node["ports"]).iter().zip(&PORTS[1..]) {
            let host = inside + 10 * u64::try_from(index).unwrap();
            assert_eq!(text(port), format!("${{BIND:-127.0.0.1}}:{host}:{inside}"));
            published.insert(host);
        }
    }
    assert_eq!(published.len(), 2 * NODES, "ports of the machine");
    let volumes = compose["volumes"].as_mapping().unwrap();
    assert_eq!(volumes.keys().map(|name| text(name).to_owned()).collect::<BTreeSet<_>>(), used);
    assert_eq!(services.as_mapping().unwrap().len(), 2 * NODES + 1, "nodes, applications and what makes the homes");
}

#[test]
fn shell_in_yaml_is_shell() {
    let (objects, compose) = (objects(), compose());
    // docker-compose takes $$ for one.
    let homes = text(&list(&compose["services"]["homes"]["command"])[0]).replace("$$", "$");
    for script in [text(&objects["ConfigMap/quorate-setup"]["data"]["home.sh"]), &homes] {
        let checked = Command::new("bash").args(["-n", "-c", script]).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn what_the_image_is_built_from_is_in_its_context() {
    let ignored = read(".dockerignore");
    let kept: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for line in read("Dockerfile").lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let sources: Vec<&str> = line.split(' ').skip(1).collect();
        for source in &sources[..sources.len() - 1] {
            assert!(
                kept.iter().any(|kept| Path::new(source).starts_with(kept)),
                "{line}: .dockerignore hides {source}"
            );
        }
    }
    assert!(ignored.lines().any(|line| line == "*"), "what is not named stays out");
}
