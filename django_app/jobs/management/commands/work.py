from django.core.management.base import BaseCommand
from django.db import connections
from rq import Worker

from jobs.queue import connection, queue


class Command(BaseCommand):
    help = "Does the queue's jobs, one at a time, until it is told to stop; then the one at hand is finished first."

    def handle(self, **options):
        link = connection()
        # What a killed worker was at is noticed when it has not been heard of for a minute; that is looked for whenever
        # a wait for jobs is over, which takes a quarter of a minute less than the worker's own time to live.
        patience = {"worker_ttl": 30, "maintenance_interval": 10, "job_monitoring_interval": 5}
        worker = Worker([queue(link)], connection=link, **patience)
        # Each job is done by a child of its own.
        connections.close_all()
        worker.work(logging_level="INFO", with_scheduler=True)
