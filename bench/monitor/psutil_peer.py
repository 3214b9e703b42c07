"""What a monitor made with psutil reads, each second, of all processes with this name: CPU times, memory, threads, descriptors."""
import sys
import time

import psutil

name, seconds = sys.argv[1], float(sys.argv[2])
found = [process for process in psutil.process_iter() if process.name() == name]
begun, used = time.monotonic(), time.process_time()
ticks = 0
while time.monotonic() - begun < seconds:
    for process in found:
        with process.oneshot():
            process.cpu_times()
            process.memory_info()
            process.num_threads()
            process.num_fds()
    ticks += 1
    time.sleep(max(0.0, begun + ticks - time.monotonic()))
window = time.monotonic() - begun
print(len(found), (time.process_time() - used) / window)
