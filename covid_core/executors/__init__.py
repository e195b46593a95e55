"""Where jobs are done: on this computer, or on the nodes of an engine (Ray, SLURM).

A job is a folder, and its worker one command; an executor starts that command. Here it is a process of this computer
(``local``). For an engine that process is an ``attendant``: it hands the jobs to the engine, holds their locks for as
long as it lives, starts a lost one anew, and takes those out of the queue that are not to begin. So a job is followed,
stopped and resumed in its folder, wherever it is done.
"""
