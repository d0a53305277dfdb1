"""Small input that several tests share."""

TOY = """
workload: {einsum: "Z[m,n] = A[m,k] * B[k,n]", shape: {M: 4, N: 4, K: 6}, tensors: {A: {density: 0.5}}}
design:
  name: toy
  levels:
    - {name: D, energy_pj: {read: 100, fill: 100, update: 100}}
    - {name: G, capacity_words: 24, instances: [2, 1], skipping: [B <- A], energy_pj: {read: 2, fill: 2, update: 2}}
  compute: {name: mac, instances: [4, 1], energy_pj: {compute: 1}}
"""
