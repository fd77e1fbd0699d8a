//! Where to connect to, or to listen: a name, or a number.
//!
//! Numbers are read here and need no resolver, which a kernel with nothing else in it
//! does not have.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::str::FromStr;

/// A host as the user gave it: a name, an IPv4 address, or an IPv6 address, with or
/// without brackets and a scope (`fe80::1%eth0`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// To be looked up.
    Name(String),
    /// An address, and what its scope is where it has one.
    Number(IpAddr, u32),
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Host, String> {
        let inner = text
            .strip_prefix('[')
            .map(|rest| rest.strip_suffix(']').ok_or("no `]` after the `[`"))
            .transpose()?;
        let bare = inner.unwrap_or(text);
        if bare.is_empty() {
            return Err("no host is given".into());
        }
        if let Some((address, scope)) = bare.split_once('%')
            && let Ok(address) = address.parse::<Ipv6Addr>()
        {
            return Ok(Host::Number(address.into(), scope_id(scope)?));
        }
        match bare.parse::<IpAddr>() {
            Ok(number) if inner.is_some() && number.is_ipv4() => {
                Err("brackets are for IPv6 addresses".into())
            }
            Ok(number) => Ok(Host::Number(number, 0)),
            Err(_) if inner.is_some() || bare.contains(':') => {
                Err("neither a name nor an IPv6 address; the port is an option of its own".into())
            }
            Err(_) => Ok(Host::Name(bare.to_owned())),
        }
    }
}

/// A scope is an interface, by its name or its number.
fn scope_id(scope: &str) -> Result<u32, String> {
    if let Ok(number) = scope.parse::<u32>() {
        return Ok(number);
    }
    let name = CString::new(scope).map_err(|_| "a NUL byte in the scope")?;
    // SAFETY: a string that ends with a NUL and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(format!("no network interface `{scope}` for the scope")),
        index => Ok(index),
    }
}

impl Host {
    /// The addresses of this host in the order in which they are to be tried, each once.
    ///
    /// # Errors
    /// As getaddrinfo(3), for a name.
    pub fn resolve(&self, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<SocketAddr> = match self {
            Host::Number(IpAddr::V6(number), scope) => {
                vec![SocketAddrV6::new(*number, port, 0, *scope).into()]
            }
            Host::Number(number, _) => vec![SocketAddr::new(*number, port)],
            Host::Name(name) => (name.as_str(), port).to_socket_addrs()?.collect(),
        };
        let mut once = Vec::new();
        for address in found {
            if !once.contains(&address) {
                once.push(address);
            }
        }
        Ok(once)
    }

    /// Whether it says itself which address is meant.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self, Host::Number(..))
    }

    /// `HOST:PORT`, readable for IPv6, too.
    #[must_use]
    pub fn with_port(&self, port: u16) -> String {
        match self {
            Host::Number(IpAddr::V6(_), _) => format!("[{self}]:{port}"),
            _ => format!("{self}:{port}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Number(number, 0) => write!(f, "{number}"),
            Host::Number(number, scope) => write!(f, "{number}%{scope}"),
        }
    }
}

/// `ADDR port N` of an address that is listened on. std has no way to show an IPv6
/// address with its scope and without its port.
#[must_use]
pub fn and_port(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(six) if six.scope_id() != 0 => {
            format!("{}%{} port {}", six.ip(), six.scope_id(), six.port())
        }
        _ => format!("{} port {}", address.ip(), address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_read_without_a_resolver() {
        for (text, shown, address) in [
            ("127.0.0.1", "127.0.0.1:7", "127.0.0.1:7"),
            ("::1", "[::1]:7", "[::1]:7"),
            ("[::1]", "[::1]:7", "[::1]:7"),
            ("fe80::1%3", "[fe80::1%3]:7", "[fe80::1%3]:7"),
            ("[fe80::1%3]", "[fe80::1%3]:7", "[fe80::1%3]:7"),
        ] {
            let host = host(text);
            assert!(host.is_number(), "{text}");
            assert_eq!(host.with_port(7), shown);
            let resolved = host.resolve(7).unwrap();
            assert_eq!(resolved, [address.parse().unwrap()], "{text}");
        }
    }

    #[test]
    fn a_scope_is_an_interface_that_exists() {
        // The loopback interface is the first one of every namespace.
        assert_eq!(host("fe80::1%lo"), host("fe80::1%1"));
        let error = "fe80::1%no-such0".parse::<Host>().unwrap_err();
        assert!(error.contains("no-such0"), "{error}");
    }

    #[test]
    fn names_are_names_and_ports_do_not_belong() {
        assert_eq!(host("example.org"), Host::Name("example.org".into()));
        assert_eq!(host("example.org").with_port(7), "example.org:7");
        for bad in [
            "",
            "[]",
            "[::1",
            "[127.0.0.1]",
            "localhost:7",
            "[name]",
            "[::1]:7",
        ] {
            bad.parse::<Host>().unwrap_err();
        }
        let local = host("localhost").resolve(7).unwrap();
        assert!(local.iter().all(|it| it.ip().is_loopback()), "{local:?}");
    }

    #[test]
    fn where_it_listens_is_shown_with_its_scope() {
        assert_eq!(
            and_port("[fe80::1%3]:7".parse().unwrap()),
            "fe80::1%3 port 7"
        );
        assert_eq!(and_port("[::1]:7".parse().unwrap()), "::1 port 7");
        assert_eq!(and_port("127.0.0.1:7".parse().unwrap()), "127.0.0.1 port 7");
    }
}
