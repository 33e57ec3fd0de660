"""Where skysift runs: the only room that knows both engines, Dask and Ray.

`cluster.local` starts them on one machine or finds running ones, `cluster.address` says what an address or
a path may be, `cluster.probe` checks that every worker sees the workspace. The YAML files start Ray on AWS,
Google Cloud and Kubernetes.
"""
