//! Whether a server is reached through a proxy: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, as curl reads them.

use anyhow::{Result, anyhow};
use std::{env, net::IpAddr};
use ureq::{Proxy, http::Uri};

pub fn of(url: &Uri) -> Result<Option<Proxy>> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = super::is_loopback(host);
    let excepted = variable(&["NO_PROXY", "no_proxy"]).is_some_and(|list| is_excepted(host, &list.1));
    // HTTP_PROXY in capitals may have been set by a client of a CGI program: curl(1), ENVIRONMENT.
    let names: &[&str] = match url.scheme_str() {
        Some("https") => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        _ => &["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"],
    };
    match variable(names) {
        Some((name, address)) if !is_here && !excepted => {
            let address = if address.contains("://") { address } else { format!("http://{address}") };
            let proxy = Proxy::new(&address).map_err(|error| anyhow!("{name} names no proxy: {error}"));
            proxy.map(Some)
        }
        _ => Ok(None),
    }
}

fn variable(names: &[&'static str]) -> Option<(&'static str, String)> {
    let set = |name: &&'static str| env::var(name).ok().map(|value| (*name, value.trim().to_owned()));
    names.iter().filter_map(set).find(|(_, value)| !value.is_empty())
}

/// A name in the list means its subdomains too, with or without a dot before it; an address itself, or a network.
fn is_excepted(host: &str, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.to_ascii_lowercase().split([',', ' ']).filter(|entry| !entry.is_empty()).any(|entry| {
        let name = entry.trim_start_matches("*.").trim_start_matches('.');
        let is_below = host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        entry == "*" || !name.is_empty() && is_below || is_in(&host, entry)
    })
}

fn is_in(host: &str, network: &str) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let parsed = network.split_once('/').and_then(|(base, length)| {
        let (base, most) = bits(base.parse().ok()?);
        let length = length.parse::<u32>().ok().filter(|length| *length <= most)?;
        let (host, same) = bits(host.parse().ok()?);
        let differ = (base ^ host).checked_shr(128 - length).unwrap_or(0);
        Some(most == same && differ == 0)
    });
    parsed.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::is_excepted;

    #[test]
    fn no_proxy_is_read_as_people_write_it() {
        let list = "localhost, .internal.org,example.com,*.star.net,10.0.0.0/8,fd00::/8,192.168.1.7";
        for host in [
            "internal.org",
            "a.internal.org",
            "EXAMPLE.com",
            "r.example.com",
            "x.star.net",
            "10.1.2.3",
            "fd00::1",
            "192.168.1.7",
        ] {
            assert!(is_excepted(host, list), "{host}");
        }
        for host in ["notexample.com", "example.org", "11.0.0.1", "fe00::1", "192.168.1.70"] {
            assert!(!is_excepted(host, list), "{host}");
        }
        assert!(is_excepted("anything", "*") && !is_excepted("anything", ""));
    }
}
