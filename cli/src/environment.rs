//! The environment variables of a sandbox's processes: Lambda's, the user's, and those of the layer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use aft_protocol::settings;

use crate::api::VERSION;
use crate::config::{CREDENTIALS, HostConfig};
use crate::log::SandboxNumber;
use crate::runtime_api;

/// What only the runtime process gets.
const RUNTIME_ONLY: [&str; 3] = ["_HANDLER", "LAMBDA_TASK_ROOT", "AWS_EXECUTION_ENV"];

/// What differs from one start of a sandbox to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) sandbox: SandboxNumber,
    pub(crate) runtime_api: SocketAddr,
    /// For the layer's local endpoint.
    pub(crate) port: u16,
    pub(crate) control_socket: &'a Path,
    /// Under SnapStart: what the sandbox's credentials are to be asked for with.
    pub(crate) credentials: Option<&'a str>,
}

/// The variables of the runtime process. The user's own count more than any other; the layer's libraries are found before theirs.
pub(crate) fn of_runtime(config: &HostConfig, place: Place<'_>) -> BTreeMap<String, String> {
    let mut variables = of_any(config, place);
    for (name, folder) in config.layer.iter().flat_map(|layer| &layer.libraries) {
        let own = variables.get(*name).map(|own| format!(":{own}")).unwrap_or_default();
        variables.insert((*name).to_owned(), format!("{}{own}", folder.display()));
    }
    variables
}

fn of_any(config: &HostConfig, place: Place<'_>) -> BTreeMap<String, String> {
    let mut variables = config.inherited.clone();
    let lambda = [
        ("AWS_LAMBDA_RUNTIME_API", place.runtime_api.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", config.function_name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", VERSION.to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", config.memory_mb.to_string()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", config.function_name)),
        ("AWS_LAMBDA_LOG_STREAM_NAME", format!("local/[{VERSION}]{}", place.sandbox)),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_REGION", config.region.clone()),
        ("AWS_DEFAULT_REGION", config.region.clone()),
        ("_HANDLER", config.handler.clone()),
        ("LAMBDA_TASK_ROOT", config.working_directory.to_string_lossy().into_owned()),
        ("TZ", ":UTC".to_owned()),
    ];
    variables.extend(lambda.map(|(name, value)| (name.to_owned(), value)));
    if let Some(token) = place.credentials {
        variables.retain(|name, _| !CREDENTIALS.contains(&name.as_str()));
        let uri = format!("http://{}{}", place.runtime_api, runtime_api::CREDENTIALS);
        let snap_start = [
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start".to_owned()),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", token.to_owned()),
        ];
        variables.extend(snap_start.map(|(name, value)| (name.to_owned(), value)));
    }
    if let Some(layer) = &config.layer {
        variables.extend(layer.settings.clone());
        variables.insert(settings::PORT.name.to_owned(), place.port.to_string());
        let socket = place.control_socket.to_string_lossy().into_owned();
        variables.insert(settings::CONTROL_SOCKET.name.to_owned(), socket);
    }
    variables.extend(config.environment.clone());
    variables
}

/// The variables of an extension process.
pub(crate) fn of_extension(config: &HostConfig, place: Place<'_>) -> BTreeMap<String, String> {
    let mut variables = of_any(config, place);
    variables.retain(|name, _| !RUNTIME_ONLY.contains(&name.as_str()));
    variables
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Place, of_extension, of_runtime};
    use crate::config::{AFT_EXTENSION, AFT_SHIM, HostConfig, Layer, LayerBinaries};
    use crate::log::SandboxNumber;
    use crate::process::Program;

    #[test]
    fn a_layers_libraries_are_found_before_the_functions_own() {
        let directory = std::env::temp_dir().join(format!("aft-libraries-{}", std::process::id()));
        let at = |path: &str| directory.join(path);
        fs::create_dir_all(at("extensions")).unwrap();
        fs::create_dir(at("python")).unwrap();
        fs::write(at("extensions").join(AFT_EXTENSION), "").unwrap();
        fs::write(at(AFT_SHIM), "").unwrap();
        let mut config = HostConfig::new(Program::new("sh")).unwrap();
        config.environment.insert("PYTHONPATH".to_owned(), "/mine".to_owned());
        config.layer = Some(Layer::aft(&LayerBinaries::found_in(&directory)).unwrap());
        let place = Place {
            sandbox: SandboxNumber(1),
            runtime_api: ([127, 0, 0, 1], 1).into(),
            port: 1,
            control_socket: &directory,
            credentials: None,
        };
        let variables = of_runtime(&config, place);
        assert_eq!(variables["PYTHONPATH"], format!("{}:/mine", at("python").display()));
        assert!(!variables.contains_key("NODE_PATH"), "there is no such folder");
        assert_eq!(
            of_extension(&config, place)["PYTHONPATH"],
            "/mine",
            "an extension is not in the function's language"
        );
        fs::remove_dir_all(directory).unwrap();
    }
}
