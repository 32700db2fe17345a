set place {}
foreach each $places {
    if {$place eq {} && [file isfile $each$sign]} { set place $each }
}
if {$place eq {}} {
    if {[module-info mode load]} { error $missing $missing }
    set place [lindex $places 0]
} elseif {$place ne [lindex $places 0] && [module-info mode load]} {
    puts stderr $replaced
}
