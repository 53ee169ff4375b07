# Profile Basic: how a family's name is compared, with what, and why it is here. Shapes first, as Kuma's profile of that name has them; then what the
# dashboards and rules (`dashboards.families`) read beyond that.

# Requests, connections, and how long they take.
Contains rq_time latency of requests, at both ends
Contains cx_length_ms how long connections last
Contains cx_count connections by reason
Contains _rq requests, their outcomes, and what happens to them on the way: retries, timeouts, waiting
Contains bytes traffic in bytes
Contains cx_active open connections
Contains cx_total connections
Contains cx_connect connections that could not be opened, and how long opening takes
Contains cx_destroy connections that ended with requests under way

# What goes wrong.
Contains timeout what took too long
Contains error errors of protocols and of TLS
Contains fail whatever failed
Contains reset requests that were reset
Contains cancelled requests that were given up
Contains max_duration_reached connections that became too old
Contains overflow limits that were hit
Contains circuit_breakers limits that are hit, and what remains of them
Contains no_cluster requests for a cluster that is not there
Contains no_route requests that no route takes
Contains no_filter_chain connections that no filter chain takes
Contains reject configuration and requests that were refused
Contains denied what access control refused
Contains rbac what access control decided

# Endpoints.
Contains health_check whether endpoints answer
Contains lb_healthy_panic endpoints are used though they are not healthy
Contains eject endpoints that were taken out
Exact envoy_cluster_membership_degraded endpoints that are degraded
Exact envoy_cluster_membership_healthy endpoints that are healthy
Exact envoy_cluster_membership_total endpoints

# TLS.
Contains ssl_handshake connections with TLS
Contains ssl_context_update_by_sds certificates that were renewed
Contains days_until_first_cert_expiring what Kuma's dashboards show of certificates

# Envoy itself.
Prefix envoy_server whether Envoy lives, since when, with how much memory
Prefix envoy_control_plane whether it is connected to its control plane
Prefix envoy_dns_filter names that Envoy resolved for the workload
Prefix envoy_dns_cares names that Envoy resolved for itself

# Beyond Kuma's: what the dashboards and rules read.
Contains ssl_versions which versions of TLS are spoken
Contains ssl_certificate_expiration_unix_time_seconds until when each certificate holds
Contains downstream_cx_ssl connections with TLS, of HTTP
Contains flow_control_paused_reading somebody reads slower than the other side writes
Contains spans_ spans that Envoy's tracer sent and dropped
Contains logs_ records that Envoy's access loggers wrote and dropped
Prefix envoy_http_tracing which requests are traced, and why not
Prefix envoy_overload how near Envoy is to its limits
Prefix envoy_listener_manager_lds_update listeners that were accepted and refused
Prefix envoy_cluster_manager_cds_update clusters that were accepted and refused
Prefix envoy_ursa_baggage_ what rules for baggage dropped
