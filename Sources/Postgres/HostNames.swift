import Glibc

/// Looks the names of hosts up before libpq would, because libpq does it inside `PQconnectPoll`, blocking.
enum HostNames {
    /// Sets `hostaddr` for every host that is a name. A name with several addresses becomes several hosts, which
    /// libpq tries in turn; the name stays for the verification of certificates.
    static func resolve(_ parameters: inout [String: String]) throws(PostgresError) {
        guard (parameters["hostaddr"] ?? environment("PGHOSTADDR") ?? "").isEmpty,
            (parameters["service"] ?? environment("PGSERVICE") ?? "").isEmpty,
            let hostList = parameters["host"] ?? environment("PGHOST"), !hostList.isEmpty
        else { return }
        let hosts = hostList.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        let portList = parameters["port"] ?? environment("PGPORT") ?? ""
        let ports = portList.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        // A list that does not fit is left to libpq, which has the words for it.
        guard ports.count <= 1 || ports.count == hosts.count else { return }
        var resolved: [(host: String, address: String, port: String)] = []
        var notFound: PostgresError?
        for (index, host) in hosts.enumerated() {
            let port = ports.isEmpty ? "" : ports[ports.count == 1 ? 0 : index]
            if host.isEmpty || host.hasPrefix("/") || host.hasPrefix("@") {
                resolved.append((host, "", port))
                continue
            }
            do {
                for address in try addresses(of: host) { resolved.append((host, address, port)) }
            } catch {
                notFound = error
            }
        }
        guard !resolved.isEmpty else {
            throw notFound
                ?? PostgresError(.connectionFailed(.hostNotFound), "there is no host to connect to")
        }
        parameters["host"] = resolved.map(\.host).joined(separator: ",")
        parameters["port"] = resolved.map(\.port).joined(separator: ",")
        if resolved.contains(where: { !$0.address.isEmpty }) {
            parameters["hostaddr"] = resolved.map(\.address).joined(separator: ",")
        }
    }

    /// Whether a host may have to be asked for over the network.
    static func mustLookUp(_ parameters: [String: String]) -> Bool {
        guard (parameters["service"] ?? environment("PGSERVICE") ?? "").isEmpty else { return true }
        let hosts = parameters["host"] ?? environment("PGHOST") ?? ""
        return !hosts.split(separator: ",").allSatisfy { host in
            var address = in6_addr()
            return unsafe host.hasPrefix("/") || inet_pton(AF_INET, String(host), &address) == 1
                || inet_pton(AF_INET6, String(host), &address) == 1
        }
    }

    /// A variable of the environment that libpq reads too.
    static func environment(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }

    /// The numeric addresses of a name, in the system's order of preference.
    private static func addresses(of host: String) throws(PostgresError) -> [String] {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = unsafe getaddrinfo(host, nil, &hints, &list)
        guard status == 0 else {
            let isUnknown = status == EAI_NONAME
            let reason = isUnknown ? "no such host" : unsafe String(cString: gai_strerror(status))
            throw PostgresError(.connectionFailed(.hostNotFound), "lookup \(host): \(reason)")
        }
        defer { unsafe freeaddrinfo(list) }
        var addresses: [String] = []
        var entry = unsafe list
        while let info = unsafe entry?.pointee {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            if unsafe getnameinfo(
                info.ai_addr, info.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
            {
                let address = String(
                    decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                if !addresses.contains(address) { addresses.append(address) }
            }
            unsafe entry = info.ai_next
        }
        return addresses
    }
}
