"""The comparison report behind `arrowseal bench`: what client-side encryption costs, beside everything else.

Every arm runs in a process of its own, which is asked for one run at a time; rounds take all arms of a workload in an
order drawn anew, so that what disturbs the machine disturbs all of them. Warm-up, making data and checking answers are
off the clock; a read ends when all of it is in the caller's hands. Requests, KMS calls and bytes are counted on the
wire by a proxy, in first runs of their own that are not timed, alike for every arm. See `samples.py` for what is kept.
"""
