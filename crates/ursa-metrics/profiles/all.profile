# Profile All.
Every * whatever Envoy counts, also what is counted for each of its threads (`envoy_listener_worker_…`)
