"""The demonstration behind `fc7 demo`.

`experiment` takes the steps, one after another: it searches and classifies views of photographs, and explains a hit.
`photograph_views` makes the views, `server_process` runs the server, and `pixel_baseline` shows what raw pixels reach.
"""
