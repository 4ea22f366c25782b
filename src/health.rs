//! `rgsd health`: asks the service of this configuration whether it is alive, or ready. For health checks of containers
//! whose images have neither a shell nor curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{anyhow, bail};

/// A service that takes longer is not well.
const WITHIN: Duration = Duration::from_secs(2);

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Whether the process answers.
    Alive,
    /// Whether wallets get a snapshot.
    Ready,
}

/// Asks the service that listens there. With `tls`, its certificate is not looked at: it is for the name that wallets
/// use, and who answers on this machine's own port is who was asked.
pub async fn ask(listen: SocketAddr, question: Question, tls: bool) -> anyhow::Result<()> {
    let address = reachable(listen);
    if address.port() == 0 {
        bail!("listen = \"{listen}\" has another port at each start: set one");
    }
    let scheme = if tls { "https" } else { "http" };
    let path = match question {
        Question::Alive => "healthz",
        Question::Ready => "readyz",
    };
    let url = format!("{scheme}://{address}/{path}");
    // What the environment says of proxies is not about this machine.
    let client = reqwest::Client::builder().no_proxy().timeout(WITHIN).danger_accept_invalid_certs(tls).build()?;
    let answer = client.get(&url).send().await.map_err(|error| match error.is_timeout() {
        true => anyhow!("{url} does not answer within {} s", WITHIN.as_secs()),
        false => anyhow!("{url} cannot be asked: {}", anyhow::Error::new(error.without_url()).root_cause()),
    })?;
    match (answer.status().as_u16(), question) {
        (200, _) => Ok(()),
        (503, Question::Ready) => bail!("not ready: there is no snapshot yet"),
        (status, _) => bail!("{url} answers HTTP {status}: is it rgsd that listens there?"),
    }
}

/// Where to reach who listens on all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        for (listen, asked) in [
            ("0.0.0.0:3000", "127.0.0.1:3000"),
            ("[::]:3000", "[::1]:3000"),
            ("192.0.2.7:80", "192.0.2.7:80"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
