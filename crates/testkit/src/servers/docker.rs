//! Servers in containers.

use std::io::PipeWriter;
use std::process::{Command, Stdio};

use testcontainers::core::ContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{GenericImage, ImageExt};

/// Whether a Docker engine answers.
pub(super) fn answers() -> bool {
    let version = Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// A container ends when this is dropped or the test process ends: the shell at the other end of the
/// pipe sees it closed. A container's own `Drop` is not enough: it does not run for a static, nor after
/// a kill.
pub(super) struct Watch(#[expect(dead_code, reason = "it is held, not used")] PipeWriter);

/// Starts a container; returns the host and port at which it listens.
pub(super) async fn start(
    (image, tag): (&str, &str),
    port: u16,
    environment: &[(&str, &str)],
    arguments: &[&str],
) -> Result<(String, u16, Watch), String> {
    let image = GenericImage::new(image, tag).with_exposed_port(ContainerPort::Tcp(port));
    let request = environment
        .iter()
        .fold(
            image.into(),
            |request: testcontainers::ContainerRequest<_>, (name, value)| {
                request.with_env_var(*name, *value)
            },
        )
        .with_cmd(arguments.iter().copied());
    let container = request.start().await.map_err(|error| error.to_string())?;
    let watch = watch(container.id()).map_err(|error| error.to_string())?;
    let host = container
        .get_host()
        .await
        .map_err(|error| error.to_string())?;
    let port = container
        .get_host_port_ipv4(port)
        .await
        .map_err(|error| error.to_string())?;
    std::mem::forget(container); // its end is the watch's matter from here on
    Ok((host.to_string(), port, watch))
}

/// A shell that removes the container when its standard input ends.
fn watch(container: &str) -> std::io::Result<Watch> {
    use std::os::unix::process::CommandExt;
    let (input, pipe) = std::io::pipe()?;
    Command::new("sh")
        .args([
            "-c",
            "read -r _; docker rm --force --volumes \"$0\"",
            container,
        ])
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    Ok(Watch(pipe))
}
