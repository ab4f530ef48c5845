"""Which certificates a server's is checked against: what every HTTP client here has in common."""

from __future__ import annotations


def authorities() -> dict[int, str]:
    """Options for libcurl: the system's certificates, or those of `certifi`.

    SSL_CERT_FILE and SSL_CERT_DIR name others, as they do for Python itself.
    """
    import ssl

    import certifi
    import pycurl

    system = ssl.get_default_verify_paths()
    if system.cafile is None and system.capath is None:
        return {pycurl.CAINFO: certifi.where()}
    found = {pycurl.CAINFO: system.cafile, pycurl.CAPATH: system.capath}
    return {option: path for option, path in found.items() if path is not None}
