"""DashGazeNet (thesis, chapter 12): crops of sessions, network, training, test-time adaptation, evaluation."""
