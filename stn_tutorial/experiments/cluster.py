"""Do runs on a cluster, by Dask. Optional: nothing else in the book needs it."""

from collections.abc import Iterator, Sequence

from stn_tutorial.experiments.jobs import Job


def runs_on_cluster(
    jobs: Sequence[Job], address: str
) -> Iterator[tuple[str, dict | Exception]]:
    """Do the jobs on the workers of a Dask scheduler.

    A run whose worker dies goes to another worker. Where the workers share the folder
    it goes on there from its checkpoint.

    Args:
        jobs: the runs.
        address: of the scheduler, such as "tcp://host:8786".

    Yields:
        each run's name, and its record or what went wrong, as the runs end.

    Raises:
        ValueError: Dask is not installed, or a worker has several threads.
    """
    try:
        from dask.distributed import Client, as_completed
    except ImportError:
        raise ValueError("--scheduler needs Dask: pip install distributed") from None
    with Client(address) as client:
        if any(threads > 1 for threads in client.nthreads().values()):
            raise ValueError(
                "expected workers with one thread each (dask worker ADDRESS --nworkers "
                f"2 --nthreads 1), but got {client.nthreads()}"
            )
        if not client.nthreads():
            print(
                f"no worker yet; start some: dask worker {address} --nthreads 1",
                flush=True,
            )
        names = {client.submit(call, *given): name for name, call, given in jobs}
        for future in as_completed(list(names)):
            try:
                yield names[future], future.result()
            except Exception as error:
                yield names[future], error
            future.release()  # a result still held is run again if its worker dies
