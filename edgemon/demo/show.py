"""The demonstration from beginning to end: prepare, play, report."""

from __future__ import annotations

from edgemon.demo import driver, report, scenario
from edgemon.demo.driver import Driver
from edgemon.demo.play import Plan, Play
from edgemon.demo.stage import Stage
from edgemon.demo.view import View, make_view
from edgemon.demo.watch import Arrived, Snapshot, Watch, arrived


def play_show(folder: str, plan: Plan, *, seed: int, broker: str) -> int:
    """Play it in `folder` (empty, absolute); the exit code: 1 when something was lost or drift not seen.

    broker: "auto" | "mosquitto" | "nats".
    """
    play = Play(plan)
    stage = Stage(folder, broker)
    with stage, make_view(play) as view:
        last = _play(play, stage, seed, view)
    found = report.make_report(play, report.receive(stage.database), last)
    print("\n" + report.render(found, play.broker, stage))
    return 1 if found.problems else 0


def _play(play: Play, stage: Stage, seed: int, view: View) -> Snapshot:
    def tell(doing: str) -> None:
        play.doing = doing

    tell("training the classifier on a third of scikit-learn's digits")
    scene = scenario.build(seed)
    stage.build(lambda path: driver.write_reference(path, scene.reference, scene.reader), tell)
    play.broker = stage.broker.name
    with Watch(stage) as watch:
        view.look = lambda: watch.latest
        Driver(play, scene, stage, lambda: arrived(stage.database) or Arrived()).run()
    return watch.latest
