"""The machine that a command runs on: its cores, its memory, its devices and its processes.

Begin with `runtime` for devices, and with `workers` for cores.

    cpu_quota    the processor time that a container gives
    workers      how many processes and threads a stage may start
    threads      one thread of torch and BLAS, where more would wait for each other
    memory       of a device: what is free, what work takes, and faults that lack it
    kept_memory  freed memory that is kept for what is allocated next
    lifeline     what ends worker processes with the process that started them
    parallel     one function over many inputs in worker processes
    processes    processes that a launcher started together, and what they tell each other
    runtime      which device, how arrays get there, and torch's randomness
    arithmetic   what a precision means: bf16, fp16, tf32, and float32 as it is written
"""
